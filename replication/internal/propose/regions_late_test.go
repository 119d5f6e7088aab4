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
	heard func()
}

func (l *lapsed) Admits(timeline.Epoch, timeline.Position) (int, bool) { return 1, !l.over }
func (l *lapsed) Inherited(_ timeline.Epoch, _ timeline.Position) bool { return l.heir }
func (l *lapsed) Deposed(timeline.Epoch) bool                          { return l.heir }

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
// it goes on.
type standsStill struct{ *lapsed }

func (s standsStill) Admits(timeline.Epoch, timeline.Position) (int, bool) {
	defer func() { s.over = true }()
	return 1, !s.over
}

// A write is not told to be done by who stood still since it was acknowledged, with the lease over: it waits as one
// that was not acknowledged, for the lease, or until another one is primary. That is then not known.
func TestWhoStoodStillTellsNothingOfBefore(t *testing.T) {
	for _, again := range []bool{false, true} {
		fleetOf(t, plain, func(t *testing.T, a, _ *member) {
			l := standsStill{&lapsed{member: a}}
			a.pipeline.standing, a.config.Standing = l, l
			got := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := a.put(ctx, "x", Options{})
				got <- err
			}()
			virtual.Wait()
			if len(got) > 0 {
				t.Fatalf("answered after the lease: %v", <-got)
			}
			l.over, l.heir = !again, !again
			a.pipeline.release()
			if err := <-got; again != (err == nil) || !again && !errors.Is(err, contract.ErrUnknownOutcome) {
				t.Errorf("with a lease again %t: answered %v", again, err)
			}
		})
	}
}
