package overview

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// becomes is a group that this node begins to lead while somebody looks.
type becomes struct {
	Group
	leads func()
}

func (b becomes) Leader() (id, term uint64) {
	b.leads()
	return 1, 2
}

func (becomes) Heard() (at time.Time, lately bool) { return at, lately }
func (becomes) DiskStalled() time.Duration         { return 0 }
func (becomes) Kept() string                       { return "" }
func (becomes) DiskFull() time.Duration            { return 0 }

// rest is what else a leader tells of: nothing.
type rest struct {
	Governor
	Losses
	Follower
}

func (rest) Bytes() int64                 { return 0 }
func (rest) Open() bool                   { return true }
func (rest) Following() *fleet.Following  { return nil }
func (rest) Loss() error                  { return nil }
func (rest) Unlike() []string             { return nil }
func (rest) Handing() *succession.Handing { return nil }
func (rest) Trouble() *succession.Trouble { return nil }
func (rest) Moving() (to, text string)    { return "", "" }

type neverLate struct{}

func (neverLate) Status() *fleet.Late { return nil }
func (neverLate) ByOrderAlone() bool  { return false }

type noSlots struct{}

func (noSlots) Now() []timeline.Slot { return nil }

func formed() map[uint64]string { return map[uint64]string{1: "a"} }

// A node that speaks for its region has applied all that was agreed on: it does not with a state from before it led.
func TestWhoSpeaksForARegionHasAppliedEverything(t *testing.T) {
	of := func(p timeline.Position) *region.View {
		return &region.View{State: timeline.State{Region: "eu", Cursor: timeline.Cursor{Epoch: 1, Position: p}}}
	}
	l := life.New(clock.Real, slog.New(slog.DiscardHandler))
	applied, leadership := region.NewApplied(of(1), l), &region.Leadership{}
	r := NewReporter(ReporterConfig{
		Region: "eu", Self: timeline.Member{ID: 1, Name: "eu-1"}, Life: l, Applied: applied, Leadership: leadership,
		Group: becomes{leads: func() { // it goes on with its log at the start, and then it leads
			applied.Publish(of(20))
			leadership.Set(2)
		}},
		Forming: func() bool { return false }, Slots: noSlots{}, Clock: clock.Real,
		Witnesses: func() map[string][]fleet.Word { return nil }, Late: neverLate{}, Formed: formed,
	})
	if said := r.Report(); said.Leader && said.Cursor.Position != 20 {
		t.Errorf("it leads, and is at %d", said.Cursor.Position)
	}
	if said := r.Report(); !said.Leader || said.Cursor.Position != 20 || said.Formed[1] != "a" {
		t.Errorf("afterwards: it leads %t, is at %d, formed with %v", said.Leader, said.Cursor.Position, said.Formed)
	}
}

// That the leader of the primary holds writes back is told to everybody, so that who asks any node of any region hears
// of it; a node that does not lead, or holds nothing back, warns of nothing.
func TestWritesThatAreHeldBackAreAWarning(t *testing.T) {
	l, leadership := life.New(clock.Real, slog.New(slog.DiscardHandler)), &region.Leadership{}
	if err := errors.Join(l.Begin(), l.Ready()); err != nil {
		t.Fatal(err)
	}
	state := region.View{State: timeline.State{Region: "us", Cursor: timeline.Cursor{Epoch: 1, Position: 1}}}
	held := ""
	r := NewReporter(ReporterConfig{
		Region: "us", Self: timeline.Member{ID: 1, Name: "us-1"}, Life: l, Leadership: leadership,
		Applied: region.NewApplied(&state, l), Log: rest{}, Follower: rest{}, Governor: rest{}, Losses: rest{},
		Writes: rest{}, Group: becomes{leads: func() {}}, HeldBack: func() string { return held },
		Forming: func() bool { return false }, Slots: noSlots{}, Clock: clock.Real,
		Witnesses: func() map[string][]fleet.Word { return nil }, Late: neverLate{}, Formed: formed,
	})
	for _, c := range []struct {
		term uint64
		held string
		want int
	}{{0, "us-1 refuses writes", 0}, {2, "us-1 refuses writes", 1}, {2, "", 0}} {
		leadership.Set(c.term)
		held = c.held
		said := r.Report().Warnings
		if len(said) != c.want || c.want > 0 && said[0] != c.held {
			t.Errorf("%+v: it warns of %q", c, said)
		}
	}
}

// Who tells of its region as its leader says in which term it leads: by now another one may, in a later one.
func TestALeaderTellsOfItsOwnTerm(t *testing.T) {
	l, leadership := life.New(clock.Real, slog.New(slog.DiscardHandler)), &region.Leadership{}
	if err := errors.Join(l.Begin(), l.Ready()); err != nil {
		t.Fatal(err)
	}
	state := region.View{State: timeline.State{Region: "eu", Cursor: timeline.Cursor{Epoch: 1, Position: 1}}}
	leadership.Set(1)
	r := NewReporter(ReporterConfig{
		Region: "eu", Self: timeline.Member{ID: 3, Name: "eu-3"}, Life: l, Leadership: leadership,
		Applied: region.NewApplied(&state, l), Log: rest{}, Follower: rest{}, Governor: rest{}, Losses: rest{},
		Writes: rest{}, Group: becomes{leads: func() { leadership.Set(0) }}, // it steps down, for 1 in term 2
		Forming: func() bool { return false }, Slots: noSlots{}, Clock: clock.Real,
		Witnesses: func() map[string][]fleet.Word { return nil }, Late: neverLate{}, Formed: formed,
	})
	if said := r.Report(); !said.Leader || said.LeaderID != 3 || said.Term != 1 {
		t.Errorf("it leads %t, %d in term %d", said.Leader, said.LeaderID, said.Term)
	}
	if said := r.Report(); said.Leader || said.LeaderID != 1 || said.Term != 2 {
		t.Errorf("afterwards: it leads %t, %d in term %d", said.Leader, said.LeaderID, said.Term)
	}
}
