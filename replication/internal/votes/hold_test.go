package votes

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestAnEndOfAHoldThatIsNotKnown: it counts as the end until another charter took its place, and no longer: while it
// does, nothing above what was acknowledged by then is.
func TestAnEndOfAHoldThatIsNotKnown(t *testing.T) {
	hold := &timeline.Hold{For: time.Minute}
	e := ending{term: 3, hold: hold, by: timeline.Mark{Epoch: 1, Number: 5}}
	for name, test := range map[string]struct {
		term, number uint64
		hold         *timeline.Hold
		want         bool
	}{
		"nothing is written":                 {3, 4, hold, true},
		"another took its place":             {3, 5, hold, false},
		"later ones are written":             {3, 7, &timeline.Hold{For: time.Minute}, false},
		"it came about":                      {3, 5, nil, false},
		"another hold":                       {3, 4, &timeline.Hold{For: time.Hour}, false},
		"another leader of that region asks": {4, 4, hold, false},
	} {
		c := &timeline.Charter{Epoch: 1, Number: test.number, Hold: test.hold}
		if got := e.of(test.term, c); got != test.want {
			t.Errorf("%s: ends %t", name, got)
		}
	}
}

// outcome is what a log says of each charter; what it takes is applied.
type outcome struct {
	t       *testing.T
	v       *Votes
	machine *timeline.Machine
	says    error // of the next one, which is not decided
	written []*timeline.Charter
}

func (o *outcome) Reached() timeline.Position      { return 0 }
func (o *outcome) Stalled(time.Duration) bool      { return false }
func (o *outcome) Now() (none []timeline.Slot)     { return none }
func (o *outcome) LeaderAddr() string              { return "" }
func (o *outcome) ending(c *timeline.Charter) bool { return o.v.ending.of(3, c) }

func (o *outcome) Control(_ context.Context, c *timeline.Control) (region.Outcome, error) {
	o.written = append(o.written, c.Charter)
	if !o.ending(o.v.config.Applied.State().Charter()) && c.Charter.Hold == nil {
		o.t.Error("the hold counts while it ends")
	}
	if o.says != nil {
		return region.Outcome{}, o.says
	}
	outcome, why, err := o.machine.Control(c)
	o.v.config.Applied.Publish(&region.View{State: o.machine.State()})
	return region.Outcome{Outcome: outcome, Why: why}, err
}

// TestAnEndOfAHoldIsWrittenUntilItIsKnown, also if another try is refused for certain: the one before may come about.
func TestAnEndOfAHoldIsWrittenUntilItIsKnown(t *testing.T) {
	s := timeline.State{
		Region: "us", Cursor: timeline.Cursor{Epoch: 1, Position: 9},
		Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}},
		Ballot: &timeline.Ballot{Promised: 1, For: "us", Charter: timeline.Charter{
			Epoch: 1, Number: 4, Lease: time.Second, MaxLoss: 5, Voters: []timeline.Voter{{ID: "us", Priority: 1}},
			Hold: &timeline.Hold{For: time.Minute, Until: time.Unix(1e9, 0).Add(time.Minute)},
		}},
	}
	c := &still{elapsed: time.Hour, wall: time.Unix(1e9, 0)}
	o := &outcome{t: t, machine: timeline.NewMachine(&s)}
	applied, leads := region.NewApplied(&region.View{State: s}, endless{}), &region.Leadership{}
	leads.Set(3)
	w, fence := fleet.NewWatcher(fleet.Config{Clock: clock.Real}), standing.NewFence(c, applied)
	o.v = New(Config{
		Region: "us", Clock: c, Logger: slog.New(slog.DiscardHandler), Life: life.New(c, slog.New(slog.DiscardHandler)),
		Applied: applied, Leadership: leads, Fleet: w, Fence: fence, Controls: o, Slots: o, Writes: o,
		Standing: standing.New("us", applied, leads, w, o, fence), Changed: func() {},
		Moving: func() (string, bool) { return "", false },
	})
	o.v.config.Life.Close() // nobody is asked
	view := ballot.HolderView{Term: 3, State: &s, Wall: c.wall}
	asked := o.v.holder.Step(c.elapsed, view, nil)[0] // it supports itself
	yes := ballot.Answer{Granted: true}
	o.v.holder.Step(c.elapsed, view, ballot.Renewed{Call: asked.Call, Voter: "us", Answer: yes})
	for _, step := range []struct {
		says error
		ends bool
	}{
		{contract.ErrUnknownOutcome, true}, {contract.ErrNotLeader, true}, {contract.ErrUnknownOutcome, true},
		{nil, false},
	} {
		fence.Grant(ballot.Evidence{Epoch: 1, Until: 2 * time.Hour})
		o.says = step.says
		if _, err := (Orders{o.v}).release(t.Context()); !errors.Is(err, step.says) {
			t.Errorf("%v: %v", step.says, err)
		}
		if o.ending(applied.State().Charter()) != step.ends || o.v.ending.writing {
			t.Errorf("%v: %+v", step.says, o.v.ending)
		}
	}
	if kept := applied.State().Charter(); kept.Hold != nil || kept.Under.Position != 9 || len(o.written) != 4 {
		t.Errorf("%+v after %d tries", kept, len(o.written))
	}
}
