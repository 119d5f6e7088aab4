package propose

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// lapsed is a leader whose lease is over once it says so, and whose further region is heard when it is told.
type lapsed struct {
	*member
	over  bool
	heir  bool // another region reigns by now, and has it
	gone  bool // another region reigns by now
	stood bool // it stood still
	heard func()
}

func (l *lapsed) Admits(timeline.Epoch, timeline.Position) (int, bool) { return 1, !l.over }
func (l *lapsed) Inherited(_ timeline.Epoch, _ timeline.Position) bool { return l.heir }
func (l *lapsed) Deposed(timeline.Epoch) bool                          { return l.heir || l.gone }

func (l *lapsed) Await(
	_ int, r *contract.Receipt, _ time.Time, _ func() bool, done func(*contract.Receipt, error),
) {
	r.Regions = 2
	if l.heard != nil {
		done(r, nil) // it is there already
		return
	}
	l.heard = func() { done(r, nil) }
}

// A write that asks for a further region is not answered as done by the word of that region alone: when it comes the
// lease may be over, and another region may have begun without the write (invariant 7). With a lease again it is; and
// where another region has begun that is known to have it, it is said to be written, and no more.
func TestAFurtherRegionThatIsHeardAfterTheLease(t *testing.T) {
	for _, c := range []struct {
		over, heir bool // a while later
		want       error
	}{
		{true, false, contract.ErrUnknownOutcome}, {false, false, nil}, {true, true, contract.ErrUnderReplicated},
	} {
		fleetOf(t, plain, func(t *testing.T, a, _ *member) {
			l := &lapsed{member: a}
			a.pipeline.standing, a.pipeline.durability = l, l
			got := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := a.put(ctx, "x", Options{Regions: 2})
				got <- err
			}()
			virtual.Wait()
			l.over = true
			l.heard()
			virtual.Wait()
			if len(got) > 0 {
				t.Fatalf("answered after the lease: %v", <-got)
			}
			l.over, l.heir = c.over, c.heir
			for range 12 {
				time.Sleep(time.Second)
				a.pipeline.release()
			}
			if err := <-got; (err == nil) != (c.want == nil) || !errors.Is(err, c.want) {
				t.Errorf("answered %v, want %v", err, c.want)
			}
		})
	}
}

// standsStill is a leader whose process stands still just after it has acknowledged something: the lease is over when
// it goes on, and what else happened meanwhile.
type standsStill struct {
	*lapsed
	meanwhile func()
}

func (s standsStill) Admits(timeline.Epoch, timeline.Position) (int, bool) {
	if s.stood {
		return 1, !s.over
	}
	s.stood, s.over = true, true
	s.meanwhile()
	return 1, true
}

// A write is not told to be done by who stood still since it was acknowledged, with the lease over: it waits as one
// that was not acknowledged, for the lease, or until another one is primary. What is not known to be there is unknown
// then. It is so where the write came to another node, and where its caller's time was over as well.
func TestWhoStoodStillTellsNothingOfBefore(t *testing.T) {
	for name, c := range map[string]struct {
		elsewhere, late, again, heir bool
		want                         error
	}{
		"a lease again":                 {again: true},
		"nobody knows":                  {want: contract.ErrUnknownOutcome},
		"another one has it":            {heir: true, want: contract.ErrUnderReplicated},
		"elsewhere, a lease again":      {elsewhere: true, again: true},
		"elsewhere, nobody knows":       {elsewhere: true, want: contract.ErrUnknownOutcome},
		"elsewhere, another one has it": {elsewhere: true, heir: true, want: contract.ErrUnderReplicated},
		"its caller's time is over":     {late: true, want: contract.ErrUnknownOutcome},
	} {
		t.Run(name, func(t *testing.T) {
			fleetOf(t, plain, func(t *testing.T, a, b *member) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				l := standsStill{&lapsed{member: a}, func() {
					if c.late {
						cancel()
					}
				}}
				a.pipeline.standing, a.config.Standing = l, l
				got, to := make(chan error, 1), a
				if c.elsewhere {
					to = b
				}
				go func() {
					_, err := to.put(ctx, "x", Options{})
					got <- err
				}()
				virtual.Wait()
				if len(got) > 0 && !c.late {
					t.Fatalf("answered after the lease: %v", <-got)
				}
				l.over, l.heir, l.gone = !c.again, c.heir, !c.again
				a.pipeline.release()
				if err := <-got; (err == nil) != (c.want == nil) || !errors.Is(err, c.want) {
					t.Errorf("answered %v, want %v", err, c.want)
				}
			})
		})
	}
}
