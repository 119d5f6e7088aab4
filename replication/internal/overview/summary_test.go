package overview

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestOnlyARegionWithTheSameHistoryMakesALossSurvivable: being further in another history does not count.
func TestOnlyARegionWithTheSameHistoryMakesALossSurvivable(t *testing.T) {
	first := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	second := timeline.Reign{Epoch: 2, First: 11, Primary: "eu", Lossy: true}
	region := func(name string, last timeline.Position, reigns ...timeline.Reign) *fleet.Region {
		h := fleet.Heard{Report: fleet.Report{
			Region: name, Node: name + "-1", ID: 1, Leader: true, LeaderID: 1, Term: 1,
			Members: []timeline.Member{{ID: 1, Name: name + "-1"}},
			Role:    timeline.Secondary, Reigns: reigns,
			Claim:  timeline.Latest(reigns),
			Cursor: timeline.Cursor{Epoch: timeline.Latest(reigns).Epoch, Position: last},
		}}
		return &fleet.Region{Name: name, Nodes: []fleet.Heard{h}}
	}
	for _, c := range []struct {
		why    string
		us, eu *fleet.Region
		want   bool
	}{
		{"the same", region("us", 10, first), region("eu", 10, first), true},
		{"behind", region("us", 10, first), region("eu", 9, first), false},
		{"further in the same history", region("us", 10, first), region("eu", 30, first, second), true},
		{"further in another history", region("us", 15, first), region("eu", 30, first, second), false},
		{"nobody answers", region("us", 10, first), &fleet.Region{Name: "eu"}, false},
	} {
		for _, r := range summarize("mimir", "us-1", time.Time{}, map[string]*fleet.Region{"us": c.us, "eu": c.eu}).Regions {
			if r.Name == "us" && r.LossSurvivable != c.want {
				t.Errorf("%s: survivable %t, want %t", c.why, r.LossSurvivable, c.want)
			}
		}
	}
}
