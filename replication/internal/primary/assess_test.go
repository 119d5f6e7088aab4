package primary

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestOfAPrimaryThatLostItsDisksNothingIsKnown: that it is behind says nothing of what it acknowledged.
func TestOfAPrimaryThatLostItsDisksNothingIsKnown(t *testing.T) {
	claim := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	us := fleet.Heard{Report: fleet.Report{
		Region: "us", Node: "us-1", Leader: true, Claim: claim, Role: timeline.Secondary,
	}}
	v := fleet.View{Regions: map[string]fleet.Region{"us": {Name: "us", Nodes: []fleet.Heard{us}, Last: &us}}}
	state := timeline.State{Region: "eu", Reigns: []timeline.Reign{claim}, Cursor: timeline.Cursor{
		Epoch: 1, Position: 8,
	}}
	l := life.New(clock.Real, slog.New(slog.DiscardHandler))
	for heard, want := range map[timeline.Position]string{
		0:  "begins with an older copy, or has not read its log yet",
		12: "; it was heard at position 12 before, and eu lacks at least 4 commands of that",
	} {
		r := New(Config{
			Region: "eu", Fleet: fleet.NewWatcher(fleet.Config{Clock: clock.Real}), Regions: these("eu", "us"),
			Clock: clock.Real, Applied: region.NewApplied(&region.View{State: state}, l),
			Follower: heardAt{position: heard},
		}).assess(sight{View: v})
		if r.BehindKnown || !strings.HasPrefix(r.Loss, "how much region eu lacks of us is unknown: its leader us-1 is "+
			"at position 0, and does not have epoch 1, which it began") || !strings.HasSuffix(r.Loss, want) {
			t.Errorf("heard at %d: %+v", heard, r)
		}
	}
}

// heardAt is a follower that has heard of a position.
type heardAt struct {
	nobody
	position timeline.Position
}

// Heard implements Follower.
func (h heardAt) Heard(string) timeline.Position { return h.position }
