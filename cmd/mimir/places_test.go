package main

import "testing"

// What cannot be a place is wrong usage, of every command that takes one, and so are flags that need another: who calls
// the command may not take it for a storage, or a node, that is away.
func TestWrongUsageIsToldByItsStatus(t *testing.T) {
	for _, arguments := range [][]string{
		{"snapshot", "list", "ftp://backups"},
		{"snapshot", "list", "s3://"},
		{"snapshot", "save", "ftp://backups/one", "--endpoints", "127.0.0.1:1"},
		{"snapshot", "status", "ftp://backups/one"},
		{"snapshot", "status", "s3://one"},
		{"archive", "status", "ftp://backups"},
		{"archive", "verify", "ftp://backups", "s3://one", "s3://two"},
		{"archive", "prune", "ftp://backups", "s3://one"},
		{"tail", "export", "t", "--after", "7", "--endpoints", "127.0.0.1:1"},
	} {
		if status, _, errs := mimir(t, arguments...); status != exitUsage {
			t.Errorf("%q: status %d, %s", arguments, status, errs)
		}
	}
}
