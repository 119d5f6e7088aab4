package overview

import (
	"log/slog"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
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

type neverLate struct{}

func (neverLate) Status() *fleet.Late { return nil }
func (neverLate) ByOrderAlone() bool  { return false }

type noSlots struct{}

func (noSlots) Now() []timeline.Slot { return nil }

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
		Witnesses: func() map[string][]fleet.Word { return nil }, Late: neverLate{},
	})
	if said := r.Report(); said.Leader && said.Cursor.Position != 20 {
		t.Errorf("it leads, and is at %d", said.Cursor.Position)
	}
	if said := r.Report(); !said.Leader || said.Cursor.Position != 20 {
		t.Errorf("afterwards: it leads %t, and is at %d", said.Leader, said.Cursor.Position)
	}
}
