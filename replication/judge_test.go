package replication

import (
	"strings"
	"testing"
)

// TestWhoIsEmptyTakesPart only where nobody who is silent, or empty too, may hold what the region acknowledged with it.
func TestWhoIsEmptyTakesPart(t *testing.T) {
	// For each other node: b is blank, d holds data and does not know this one, f formed the region with this disk, o
	// with disks among which this one is not, - does not answer.
	for others, want := range map[string]string{
		"b": "", "d": "", "-": "waits for n0,", "f": "",
		"bb": "", "dd": "", "f-": "", "fb": "", "of": "",
		"b-": "waits for n1,", "d-": "waits for n1,", "--": "waits for n0, n1,",
		"bd": "n0, us-1 are empty", "bo": "n0, us-1 are empty", "oo": "",
		"bbbb": "", "bbb-": "waits for n3,", "ddd-": "", "dddb": "", "dd--": "waits for n2, n3,",
		"ddb-": "waits for n3,", "ddbb": "n2, n3, us-1 are empty", "f---": "",
	} {
		f := &forming{blank: true, node: &node{id: 1, config: Config{NodeID: "us-1"}}}
		f.node.disk.ID = "own"
		var all []told
		for i, kind := range others {
			o := told{node: "n" + string(rune('0'+i)), id: uint64(i + 2)}
			switch kind {
			case 'b':
				o.blank = "empty"
			case 'f':
				o.formed = map[uint64]string{1: "own"}
			case 'o':
				o.formed = map[uint64]string{9: "other"}
			case '-':
				o.silent = true
			}
			all = append(all, o)
		}
		formed, lacks := f.judge(all)
		if want == "" && lacks != "" || !strings.HasPrefix(lacks, want) {
			t.Errorf("%s: %q, want %q", others, lacks, want)
		}
		if known := lacks == "" && strings.Trim(others, "b") == "" || strings.Contains(others, "f"); known !=
			(formed[1] == "own") {
			t.Errorf("%s: formed with %v", others, formed)
		}
	}
}
