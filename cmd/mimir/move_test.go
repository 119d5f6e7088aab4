package main

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhatAMoveSaysIsTrue: of whom the primary was, and of what comes back.
func TestWhatAMoveSaysIsTrue(t *testing.T) {
	for want, r := range map[string]replication.MoveReport{
		"eu is primary, after us: epoch 2 begins after position 7\n" +
			"3 are missing. If us comes back it saves what is missing: see mimir tail list\n": {From: "us", To: "eu",
			Loss: "3 are missing"},
		"eu is primary, after us: epoch 2 begins after position 7\nhow much of us is missing is unknown. If us comes " +
			"back it saves what is missing: see mimir tail list\n": {From: "us", To: "eu"},
		"us stays primary, and takes writes again: epoch 2 begins after position 7\nnothing is missing; if another " +
			"region comes back with something else, it saves that: see mimir tail list\nwarning: look\n": {From: "us",
			To: "us", Loss: "nothing is missing", Warnings: []string{"look"}},
		"us is primary, after nobody: epoch 2 begins after position 7\nnobody that answered had a history; if one " +
			"comes back with another, what was written here may become a tail: see mimir tail list\n": {To: "us"},
	} {
		r.Epoch, r.Position, r.Lossy = 2, 7, true
		var out strings.Builder
		if printMove(&out, &r); out.String() != want {
			t.Errorf("%+v: says\n%swant\n%s", r, out.String(), want)
		}
	}
}

// A bound of what may be lost is never passed over for --force: both at once are refused, before anybody is asked.
func TestForceAndABoundExcludeEachOther(t *testing.T) {
	for _, bound := range []string{"0", "100"} {
		status, _, errs := mimir(t, "failover", "--to", "eu", "--force", "--accept-loss", bound, "--endpoints",
			"127.0.0.1:1")
		if status != exitUsage || !strings.Contains(errs, "either --force") {
			t.Errorf("%s: %d %s", bound, status, errs)
		}
	}
}
