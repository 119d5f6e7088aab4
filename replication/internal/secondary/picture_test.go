package secondary

import (
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func TestWhoServesBetter(t *testing.T) {
	node := func(addr string, leads bool, p timeline.Position) fleet.Heard {
		return fleet.Heard{Asked: addr, Report: fleet.Report{Leader: leads, Cursor: timeline.Cursor{Position: p}}}
	}
	for _, c := range []struct {
		name  string
		nodes []fleet.Heard
		want  bool
	}{
		{"nobody answers", nil, false},
		{"only itself", []fleet.Heard{node("us-1", false, 90)}, false},
		{"it leads, and nobody is further", []fleet.Heard{node("us-1", true, 80), node("us-2", false, 80)}, false},
		{"another leads", []fleet.Heard{node("us-1", false, 80), node("us-2", true, 80)}, true},
		{"another is further", []fleet.Heard{node("us-1", false, 80), node("us-2", false, 81)}, true},
	} {
		if got := better(fleet.Region{Nodes: c.nodes}, "us-1", 80); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
