package propose

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// strict is a leader where a write is acknowledged when two regions have it, and where a bound says up to where.
type strict struct {
	*lapsed
	bound timeline.Position
	has   timeline.Position // another region
}

func (s *strict) Admits(timeline.Epoch, timeline.Position) (int, bool) { return 2, !s.over }
func (s *strict) Bound(*timeline.State) (timeline.Position, int, bool) { return s.bound, 2, true }
func (s *strict) Reached(k int, _ *timeline.State) timeline.Position   { return s.has }

// TestWhatIsReadIsSettledAsWritesAre: when the further region has it, and with the lease; and what was before the reign
// is at once.
func TestWhatIsReadIsSettledAsWritesAre(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, _ *member) {
		if _, err := a.put(t.Context(), "x", Options{}); err != nil {
			t.Fatal(err)
		}
		a.mu.Lock()
		a.applied.Publish(&region.View{State: a.machine.State()})
		a.mu.Unlock()
		s := &strict{lapsed: &lapsed{member: a}, bound: timeline.Position(timeline.NoBound)}
		a.config.Standing, a.config.Durability = s, s
		a.pipeline.standing, a.pipeline.durability = s, s
		at := region.PlaceOf(a.applied.State())
		settle := func(d time.Duration) <-chan error {
			got := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				got <- a.Settle(ctx, at)
			}()
			virtual.Wait()
			return got
		}
		got := settle(time.Minute)
		s.over = true
		s.heard()
		virtual.Wait()
		if len(got) > 0 {
			t.Fatalf("settled after the lease: %v", <-got)
		}
		s.over = false
		a.pipeline.release()
		if err := <-got; err != nil {
			t.Error(err)
		}
		s.heard = nil
		err := <-settle(time.Second)
		if !errors.Is(err, contract.ErrNotReady) || errors.Is(err, contract.ErrUnknownOutcome) {
			t.Errorf("nobody else has it: %v", err)
		}
		s.has = at.Position
		s.heard = nil
		if err := <-settle(time.Second); err != nil || s.heard != nil {
			t.Errorf("it is known to be there: %v, waited %t", err, s.heard != nil)
		}
		other := *at.Reign
		other.Epoch++
		at.Reign = &other
		if err := <-settle(time.Second); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("of another reign: %v", err)
		}
		state := a.applied.State()
		for _, c := range []struct{ bound, has, want timeline.Position }{
			{100, 7, 7}, {5, 7, 5}, {100, 0, state.Reigns[0].First - 1}, {0, 7, 0},
		} {
			s.bound, s.has = c.bound, c.has
			if to, ok := a.Settled(state); !ok || to != c.want {
				t.Errorf("bound %d, another region has %d: settled up to %d, %t", c.bound, c.has, to, ok)
			}
		}
		said, under := state.Clone(), timeline.Under{Epoch: state.Cursor.Epoch, Position: 9}
		said.Ballot = &timeline.Ballot{Charter: timeline.Charter{Epoch: under.Epoch, Number: 1, Under: under}}
		s.bound, s.has = 100, 7
		if to, ok := a.Settled(said); !ok || to != 9 {
			t.Errorf("the charter says that 9 were acknowledged: settled up to %d, %t", to, ok)
		}
	})
}

// TestAReadHoldsNoWriteUp: one that saw what lies above the ceiling waits for it, and what lies below is acknowledged
// behind it, in order.
func TestAReadHoldsNoWriteUp(t *testing.T) {
	l := &leased{bench: newBench(t), until: 10, ceiling: 12}
	l.standing = l
	l.lead(5)
	var told []timeline.Position
	wait := func(p timeline.Position, read bool) {
		u := &proposal{apart: read, read: read, finish: func(r result) {
			if r.err != nil {
				p += 100
			}
			told = append(told, p)
		}}
		l.applied(u, &contract.Receipt{Epoch: l.cursor.Epoch, Position: p, Regions: 1})
	}
	wait(15, true)
	wait(11, false)
	wait(14, false)
	wait(16, false)
	wait(13, true)
	if !slices.Equal(told, []timeline.Position{11}) {
		t.Errorf("under the ceiling %d: told %d", l.ceiling, told)
	}
	l.ceiling = 14
	l.release()
	if !slices.Equal(told, []timeline.Position{11, 14, 13}) {
		t.Errorf("under the ceiling %d: told %d", l.ceiling, told)
	}
	wait(17, true)
	l.stepDown()
	slices.Sort(told)
	if !slices.Equal(told, []timeline.Position{11, 13, 14, 115, 116, 117}) || len(l.held)+len(l.seen) > 0 {
		t.Errorf("in the end told %d, and %d, %d are left", told, len(l.held), len(l.seen))
	}
	wait(18, true)
	l.abandon(contract.ErrClosed)
	if told[len(told)-1] != 118 || len(l.seen) > 0 {
		t.Errorf("abandoned: told %d", told)
	}
}
