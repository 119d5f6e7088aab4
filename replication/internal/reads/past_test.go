package reads

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// A node that starts again does not show less than it did before.
func TestNothingOlderIsShownAfterAStart(t *testing.T) {
	const never = -1
	const entries = 9 // of term 2 in the log, up to 7 known to be committed
	for _, c := range []struct {
		name    string
		applied []region.View // after the start, each a second after the one before
		shown   time.Duration // when a stale read is answered; never: not within its minute
	}{
		{"all of it was applied", []region.View{{Index: entries, Term: 2}}, 0},
		{"more than is known was committed", []region.View{{Index: 7, Term: 2}, {Index: 9, Term: 2}}, time.Second},
		{"a later term voids the rest", []region.View{{Index: 7, Term: 2}, {Index: 8, Term: 3}}, time.Second},
		{"nobody says it", []region.View{{Index: 7, Term: 2}}, 3 * time.Second},
		{"what is known is applied late", []region.View{{}, {}, {}, {}, {}, {Index: 7, Term: 2}}, 5 * time.Second},
		{"what is known is not applied", []region.View{{Index: 6, Term: 2}}, never},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				applied := region.NewApplied(&c.applied[0], end{})
				p := newPast(&Config{
					Past: Past{Last: entries, Term: 2, Commit: 7}, Applied: applied, Clock: clock.Real,
					Timeout: time.Second,
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				answered := make(chan error, 1)
				go func() { answered <- p.wait(ctx) }()
				for _, v := range c.applied[1:] {
					time.Sleep(time.Second)
					applied.Publish(&v)
				}
				err := <-answered
				took := time.Since(began)
				if c.shown == never {
					if !errors.Is(err, contract.ErrNotReady) {
						t.Errorf("got %v after %v", err, took)
					}
					return
				}
				if err != nil || took != c.shown {
					t.Errorf("after %v: %v, want it after %v", took, err, c.shown)
				}
			})
		})
	}
}

// end is of a node that goes on.
type end struct{}

func (end) Stopped() <-chan struct{} { return nil }
func (end) Failure() error           { return nil }
