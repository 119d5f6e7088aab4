package propose

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
)

// A write that is in too few regions is said to be written, with its place, and that is not told by who stood still
// since either: it waits for the lease, or until another one is primary. What is told then is told once.
func TestWhoStoodStillTellsNoPlaceOfBefore(t *testing.T) {
	for name, c := range map[string]struct {
		elsewhere, again, heir bool
		want                   error
	}{
		"a lease again":                 {again: true, want: contract.ErrUnderReplicated},
		"nobody knows":                  {want: contract.ErrUnknownOutcome},
		"another one has it":            {heir: true, want: contract.ErrUnderReplicated},
		"elsewhere, a lease again":      {elsewhere: true, again: true, want: contract.ErrUnderReplicated},
		"elsewhere, nobody knows":       {elsewhere: true, want: contract.ErrUnknownOutcome},
		"elsewhere, another one has it": {elsewhere: true, heir: true, want: contract.ErrUnderReplicated},
	} {
		t.Run(name, func(t *testing.T) {
			fleetOf(t, plain, func(t *testing.T, a, b *member) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				l := standsStill{&lapsed{member: a}, func() {}}
				a.pipeline.standing, a.config.Standing = l, l
				got, to := make(chan error, 1), a
				if c.elsewhere {
					to = b
				}
				go func() {
					_, err := to.put(ctx, "x", Options{Regions: 3})
					got <- err
				}()
				virtual.Wait()
				if len(got) > 0 {
					t.Fatalf("told after the lease: %v", <-got)
				}
				l.over, l.heir, l.gone = !c.again, c.heir, !c.again
				a.pipeline.release()
				if err := <-got; !errors.Is(err, c.want) {
					t.Errorf("told %v, want %v", err, c.want)
				}
			})
		})
	}
}
