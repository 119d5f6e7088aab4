package secondary

import (
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/progress"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A copy is asked of a follower, unless that may be no good.
func TestAFollowerIsAskedForACopyBeforeItsLeader(t *testing.T) {
	led, cutOff := true, false
	node := func(addr string, change func(h *fleet.Heard)) fleet.Heard {
		h := fleet.Heard{Asked: addr}
		h.Led, h.Claim = &led, timeline.Reign{Epoch: 3, Primary: "eu"}
		h.Cursor = timeline.Cursor{Epoch: 3, Position: 500_000}
		change(&h)
		return h
	}
	leads := func(h *fleet.Heard) { h.Leader, h.Term = true, 9 }
	addresses := []string{"eu-1", "eu-2", "eu-3", "eu-4"}
	for _, c := range []struct {
		why    string
		change func(h *fleet.Heard)
		first  string
	}{
		{"it is well", func(*fleet.Heard) {}, "eu-2"},
		{"a little behind", func(h *fleet.Heard) { h.Cursor.Position -= 1000 }, "eu-2"},
		{"far behind", func(h *fleet.Heard) { h.Cursor.Position = 390_000 }, "eu-1"},
		{"no further than who asks", func(h *fleet.Heard) { h.Cursor.Position = 450_000 }, "eu-1"},
		{"behind who asks", func(h *fleet.Heard) { h.Cursor.Position = 449_000 }, "eu-1"},
		{"in an earlier epoch", func(h *fleet.Heard) { h.Cursor.Epoch = 2 }, "eu-1"},
		{"it knows another claim", func(h *fleet.Heard) { h.Claim.Epoch = 4 }, "eu-1"},
		{"diverged", func(h *fleet.Heard) { h.Diverged = true }, "eu-1"},
		{"cut off", func(h *fleet.Heard) { h.Led = &cutOff }, "eu-1"},
		{"it waits for a state itself", func(h *fleet.Heard) { h.Awaits = "waits" }, "eu-1"},
		{"it takes a copy itself", func(h *fleet.Heard) { h.Transfer = new(progress.Transfer) }, "eu-1"},
		{"its disk stands still", func(h *fleet.Heard) { h.DiskStalledSeconds = 3 }, "eu-1"},
		{"its disk is full", func(h *fleet.Heard) { h.DiskFullSeconds = 3 }, "eu-1"},
		{"it believes that it leads", func(h *fleet.Heard) { h.Leader, h.Term = true, 8 }, "eu-1"},
		{"it is not one of the region's addresses", func(h *fleet.Heard) { h.Asked = "xx-1" }, "eu-1"},
	} {
		r := fleet.Region{Nodes: []fleet.Heard{node("eu-1", leads), node("eu-2", c.change)}}
		got := givers(r, addresses, 450_000)
		if got[0] != c.first {
			t.Errorf("%s: asks %v", c.why, got)
		}
		if slices.Sort(got); !slices.Equal(got, addresses) {
			t.Errorf("%s: of %v only %v are asked", c.why, addresses, got)
		}
	}
	if got := givers(fleet.Region{}, addresses, 0); !slices.Equal(got, addresses) {
		t.Errorf("of a region of which nothing is known %v are asked", got)
	}
}
