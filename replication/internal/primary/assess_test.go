package primary

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
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

// TestAPrimaryThatAnotherRegionHearsIsNotGone: who is asked to take over says so, though it does not hear it itself.
func TestAPrimaryThatAnotherRegionHearsIsNotGone(t *testing.T) {
	claim := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	at := timeline.Cursor{Epoch: 1, Position: 8}
	state := timeline.State{Region: "ap", Reigns: []timeline.Reign{claim}, Cursor: at}
	l := life.New(clock.Real, slog.New(slog.DiscardHandler))
	led := false
	for name, c := range map[string]struct {
		follows fleet.Following
		led     *bool
		alive   bool
	}{
		"it hears it":          {follows: fleet.Following{Source: "us", Connected: true, LagSeconds: 0.3}, alive: true},
		"not lately":           {follows: fleet.Following{Source: "us", Connected: true, LagSeconds: 7, AtLeast: true}},
		"never":                {follows: fleet.Following{Source: "us", Connected: true, LagSeconds: -1}},
		"no stream":            {follows: fleet.Following{Source: "us", LagSeconds: 2}},
		"by this region alone": {follows: fleet.Following{Source: "us", By: "ap", Connected: true, LagSeconds: 0.3}},
		"nobody hears it":      {follows: fleet.Following{Source: "us", Connected: true, LagSeconds: 0.3}, led: &led},
	} {
		eu := fleet.Heard{Report: fleet.Report{
			Region: "eu", Node: "eu-1", Leader: true, Led: c.led, Claim: claim, Role: timeline.Secondary, Cursor: at,
			Reigns: state.Reigns, Following: &c.follows,
		}}
		v := fleet.View{Regions: map[string]fleet.Region{
			"eu": {Name: "eu", Nodes: []fleet.Heard{eu}, Last: &eu}, "us": {Name: "us"},
		}}
		r := New(Config{
			Region: "ap", Fleet: fleet.NewWatcher(fleet.Config{Clock: clock.Real}), Regions: these("ap", "eu", "us"),
			Clock: clock.Real, Applied: region.NewApplied(&region.View{State: state}, l), Follower: heardAt{},
		}).assess(sight{View: v})
		text := strings.Join(r.Warnings, "; ")
		if strings.Contains(text, "region eu follows us and heard it within the last seconds") != c.alive {
			t.Errorf("%s: %q", name, text)
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

// TestWhatCameBeforeAnEpochBeganIsNotMissing: it was counted when the region was asked.
func TestWhatCameBeforeAnEpochBeganIsNotMissing(t *testing.T) {
	for _, c := range []struct {
		asked, first timeline.Position
		behind       uint64
		atEnd        bool
		want         uint64
		says         string
	}{
		{100, 101, 4, true, 4, ""},
		{100, 103, 4, true, 2, "; of these 2 came before epoch 7 began"},
		{100, 120, 4, true, 0, "; of these 4 came before epoch 7 began"},
		{100, 120, 0, true, 0, ""},
		{100, 91, 14, false, 14, ""}, // at a point before its end
		{0, 120, 4, true, 4, ""},     // it had diverged
	} {
		r := &contract.MoveReport{Position: c.asked, Behind: c.behind, BehindKnown: true}
		complete(r, &timeline.Reign{Epoch: 7, First: c.first}, c.atEnd)
		if r.Behind != c.want || r.Loss != c.says || r.Position != c.first-1 || r.Epoch != 7 || !r.Lossy {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}
