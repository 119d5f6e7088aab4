package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/patrol"
)

// What comparing found is said with the next command, and so is that nodes were not compared for long.
func TestStatusTellsWhatComparingFound(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	report := func(r *patrol.Report) *fleetReport {
		f := &fleetReport{FleetStatus: &replication.FleetStatus{}}
		f.Regions = []regionReport{{RegionStatus: replication.RegionStatus{Name: "us"}, nodes: []nodeReport{
			{name: "us-1", compare: &patrol.Report{Since: ago(time.Hour)}}, {name: "us-2", compare: r},
		}}}
		f.tellCompare(now)
		return f
	}
	nodes := []patrol.Compared{
		{Node: "eu-1", Region: "eu", At: ago(time.Hour)}, {Node: "us-1", Region: "us", At: ago(2 * time.Hour)},
	}
	well := patrol.Report{EverySeconds: 86400, Compares: true, Since: ago(100 * time.Hour), Nodes: nodes}
	if f := report(&well); len(f.Warnings) != 0 || !strings.Contains(compareText(f.Compare), "2 of 2 nodes") {
		t.Errorf("%v: %s", f.Warnings, compareText(f.Compare))
	}
	well.Revision = 104211
	if text := compareText(&well); !strings.Contains(text, "compared whole up to revision 104211, ") {
		t.Error(text)
	}
	late := well
	late.Nodes = []patrol.Compared{{Node: "eu-1", Region: "eu", Why: "it does not answer"}, nodes[1]}
	if f := report(&late); len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "eu-1: it does not answer") {
		t.Errorf("%v", f.Warnings)
	}
	untold := well
	untold.Findings = []patrol.Finding{{At: ago(time.Minute), What: "keys", Untold: "a node is old"}, {What: "keys"}}
	if f := report(&untold); len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "mimir verify") {
		t.Errorf("%v", f.Warnings)
	}
	first := well
	first.Nodes = []patrol.Compared{{Node: "eu-1", Region: "eu"}, {Node: "us-1", Region: "us"}}
	if text := compareText(&first); !strings.Contains(text, "the first round") {
		t.Error(text)
	}
	none := well // a round was ended, and the next one is not the first
	none.Nodes = []patrol.Compared{{Node: "eu-1", Region: "eu", Why: "it does not answer"},
		{Node: "us-1", Region: "us", Why: "nobody else was there to compare it with"}}
	if text := compareText(&none); strings.Contains(text, "first round") ||
		!strings.Contains(text, "none was compared whole since") ||
		!strings.Contains(text, "eu-1: it does not answer") {
		t.Error(text)
	}
	first.Nodes[0].Why = patrol.FirstRound
	if text := compareText(&first); !strings.Contains(text, "the first round") {
		t.Error(text)
	}
	old := well
	old.Compares = false
	if f := report(&old); f.Compare != nil {
		t.Error("a node that compares no more speaks for the fleet")
	}
	for kind, want := range map[string]string{
		admin.Differs: "mimir node rebuild us-2", admin.Unsure: "it is unknown who is right",
	} {
		a := alarmReport{Alarm: admin.Alarm{Kind: kind, Member: 7}, Node: "us-2", Region: "us"}
		if text := a.text(); !strings.Contains(text, want) || strings.Contains(text, "no region takes writes") {
			t.Errorf("%s: %s", kind, text)
		}
	}
}
