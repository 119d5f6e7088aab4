package secondary

import (
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A state at the fork is offered when a majority came to it, and all that did came to the same.
func TestAStateAtTheForkIsThatOfAMajority(t *testing.T) {
	reigns := []timeline.Reign{{Epoch: 1, Primary: "us", First: 1}, {Epoch: 2, Primary: "eu", First: 10}}
	for _, c := range []struct {
		down, unable []string
		apart        string
		want         error
		again        bool // another try may do better
	}{
		{nil, nil, "none", nil, false}, {[]string{"us-2"}, nil, "none", nil, false},
		{nil, []string{"us-2"}, "none", nil, false}, {[]string{"us-2", "us-3"}, nil, "none", errDown, true},
		{[]string{"us-2"}, []string{"us-3"}, "none", errDown, true},
		{nil, []string{"us-2", "us-3"}, "none", errUnable, false},
		{[]string{"us-2"}, []string{""}, "none", errDown, true},
		{nil, []string{"", "us-2"}, "none", errUnable, false},
		{[]string{"us-2"}, nil, "us-3", contract.ErrMessage, true},
	} {
		f := testFollower(&shelf{down: c.down, unable: c.unable, apart: c.apart, at: 9})
		e := succession.Effect{Do: succession.Rewind, Term: 7, Source: "eu", Reigns: reigns}
		if got := f.Run(t.Context(), e); !errors.Is(got.Err, contract.ErrNotReady) {
			t.Errorf("before it diverged: %+v", got)
		}
		f.config.Applied = region.NewApplied(&region.View{State: timeline.State{
			Region: "us", Reigns: reigns[:1], Diverged: &timeline.Divergence{Fork: 9, At: 12, Claim: reigns[1]},
		}}, f.config.Life)
		got := f.Run(t.Context(), e)
		if !errors.Is(got.Err, c.want) || (got.Err == nil) != (got.Copy != nil) || got.Again != c.again {
			t.Errorf("%+v: ended %+v", c, got)
		}
		if got.Copy != nil && (got.Copy.ID != "own" || got.Copy.Origin.Cursor.Position != 9) {
			t.Errorf("%+v: copy %+v", c, got.Copy)
		}
	}
}

// TestGoingBackOverReignsWaitsForTheNodes: one that is too old could not apply what comes of it.
func TestGoingBackOverReignsWaitsForTheNodes(t *testing.T) {
	one := timeline.Reign{Epoch: 1, Primary: "us", First: 1}
	at, later := timeline.Reign{Epoch: 2, Primary: "eu", First: 10}, timeline.Reign{Epoch: 3, Primary: "ap", First: 15}
	for _, c := range []struct {
		reigns []timeline.Reign
		level  timeline.Level
		ok     bool
	}{
		{[]timeline.Reign{one, at}, timeline.LevelFirst, true},
		{[]timeline.Reign{one, at, later}, timeline.LevelCount - 1, false},
		{[]timeline.Reign{one, at, later}, timeline.LevelCount, true},
		{[]timeline.Reign{one, later}, timeline.LevelCount - 1, false},
		{[]timeline.Reign{one, later}, timeline.LevelCount, true},
	} {
		f := testFollower(&shelf{level: c.level, apart: "none", at: 9})
		f.config.Applied = region.NewApplied(&region.View{State: timeline.State{
			Region: "us", Reigns: c.reigns[:1], Diverged: &timeline.Divergence{Fork: 9, At: 12, Claim: at},
		}}, f.config.Life)
		got := f.Run(t.Context(), succession.Effect{Do: succession.Rewind, Term: 7, Source: "eu", Reigns: c.reigns})
		if (got.Copy != nil) != c.ok || !c.ok && (!errors.Is(got.Err, contract.ErrNotReady) || got.Again) {
			t.Errorf("%+v of level %d: %+v", c.reigns, c.level, got)
		}
	}
}
