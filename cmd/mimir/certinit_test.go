package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/server/authority"
)

// What was cut short is done by doing it again, what is there stays as it is, and what is half there is named.
func TestAuthoritiesThatLackAreMade(t *testing.T) {
	dir := t.TempDir()
	if err := authority.Make(dir, authority.Peers, "f", time.Now()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "peer-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	out := must(t, "cert", "init", "--dir", dir)
	after, err := os.ReadFile(filepath.Join(dir, "peer-ca.crt"))
	if err != nil || string(after) != string(before) || !strings.Contains(out, "peer-ca.crt is there") {
		t.Errorf("%v, %s", err, out)
	}
	if _, err := authority.Open(dir, authority.Clients); err != nil || !strings.Contains(out, "made ") {
		t.Errorf("%v, %s", err, out)
	}
	if status, _, errs := mimir(t, "cert", "init", "--dir", dir); status == exitDone ||
		!strings.Contains(errs, "no authority made") {
		t.Errorf("where both are: status %d, %s", status, errs)
	}
	if err := os.Remove(filepath.Join(dir, "client-ca.crt")); err != nil { // it ended between the two
		t.Fatal(err)
	}
	if status, _, errs := mimir(t, "cert", "init", "--dir", dir); status == exitDone ||
		!strings.Contains(errs, "remove") || !strings.Contains(errs, "client-ca.key") {
		t.Errorf("half of one: status %d, %s", status, errs)
	}
}
