package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
)

// TestRevisionsAreNotRounded by whoever reads numbers as most readers of JSON do: those of a late epoch lie beyond what
// such a number holds.
func TestRevisionsAreNotRounded(t *testing.T) {
	const late = 1<<53 + 1
	for name, v := range map[string]any{
		"archive status": archiveStatus{Branches: []branchReport{{Revision: late}}},
		"tail replay":    replay.Entry{Command: &replay.Command{Revision: late}},
	} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"revision":"9007199254740993"`) {
			t.Errorf("%s: %s", name, text)
		}
	}
}
