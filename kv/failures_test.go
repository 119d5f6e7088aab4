package kv

import (
	"errors"
	"testing"
)

// What is found in a database that could not be opened is no failure of a store that somebody has.
func TestNobodyHearsOfADatabaseThatWasNotOpened(t *testing.T) {
	for what, failed := range map[string]error{"opened": nil, "not opened": errors.New("no")} {
		a := newFailures(&Options{}, t.TempDir())
		if fatal := a.open(&failed); fatal != nil {
			t.Fatalf("%s: %v", what, fatal)
		}
		if a.opening(errors.New("found later")) != (failed != nil) {
			t.Errorf("%s: somebody has it %t", what, a.opened)
		}
	}
}
