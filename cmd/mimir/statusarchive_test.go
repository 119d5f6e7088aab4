package main

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/backup/archive"
)

// Who does not archive, and was to, is told.
func TestTellArchive(t *testing.T) {
	on, off := &archive.Status{Active: true}, &archive.Status{}
	leftTo := func(region string) *archive.Status { return &archive.Status{Elsewhere: region} }
	node := func(name string, s *archive.Status) nodeReport {
		return nodeReport{name: name, archive: s, tellsPlaces: true}
	}
	for name, c := range map[string]struct {
		us, eu []nodeReport
		warned string // parts, by "; "
	}{
		"no settings":    {us: []nodeReport{node("us-1", nil), node("us-2", nil)}, eu: []nodeReport{node("eu-1", nil)}},
		"well":           {us: []nodeReport{node("us-1", on), node("us-2", off)}, eu: []nodeReport{node("eu-1", off)}},
		"of one region":  {us: []nodeReport{node("us-1", on), node("us-2", off)}, eu: []nodeReport{node("eu-1", nil)}},
		"nobody does it": {us: []nodeReport{node("us-1", off)}, warned: "nobody that answered archives"},
		"one never would": {us: []nodeReport{node("us-1", on), node("us-2", nil)},
			warned: "us-2 does not archive the log when it leads region us, and us-1 does"},
		"the leader does not": {us: []nodeReport{node("us-1", off), node("us-2", nil)},
			warned: "us-2 does not archive the log; nobody that answered archives"},
		"one is too old to tell": {us: []nodeReport{node("us-1", on), {name: "us-2"}}},
		"left to the other":      {us: []nodeReport{node("us-1", leftTo("eu"))}, eu: []nodeReport{node("eu-1", on)}},
		"left to one that does not": {us: []nodeReport{node("us-1", leftTo("eu")), node("us-2", leftTo("eu"))},
			eu: []nodeReport{node("eu-1", nil)}, warned: "nobody that answered archives"},
		"each left to the other": {us: []nodeReport{node("us-1", leftTo("eu"))},
			eu: []nodeReport{node("eu-1", leftTo("us"))}, warned: "nobody that answered archives"},
		"left to nobody": {us: []nodeReport{node("us-1", leftTo("ue"))}, eu: []nodeReport{node("eu-1", nil)},
			warned: "the archive.region of us-1 is ue, and the fleet has no; nobody that answered archives"},
	} {
		f := &fleetReport{Regions: []regionReport{{nodes: c.us}, {nodes: c.eu}}}
		f.Regions[0].Name, f.Regions[1].Name = "us", "eu"
		warned := f.archiveSettings()
		var want []string
		if c.warned != "" {
			want = strings.Split(c.warned, "; ")
		}
		if len(warned) != len(want) {
			t.Errorf("%s: %q, want %q", name, warned, want)
			continue
		}
		for i, w := range want {
			if !strings.Contains(warned[i], w) {
				t.Errorf("%s: %q, want %q", name, warned[i], w)
			}
		}
	}
}
