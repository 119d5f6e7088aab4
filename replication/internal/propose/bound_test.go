package propose

import (
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
)

// What is bound to a tenure is written in it, or never: not by another node, not in another term, and not when what
// was written of it turns out to be lost.
func TestWhatIsBoundToATenureIsNeverCarriedOn(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		bound := Options{Bound: true, Tenure: a.Tenure()}
		if bound.Tenure != (contract.Tenure{Term: 1, Epoch: 1}) {
			t.Fatalf("tenure %+v", bound.Tenure)
		}
		refused := func(what string, err error, frames int) {
			t.Helper()
			time.Sleep(time.Minute)
			if !errors.Is(err, contract.ErrNotLeader) || a.frames() != frames || !a.parking.empty() {
				t.Errorf("%s: %v, %d frames", what, err, a.frames())
			}
		}
		if r, err := a.put(t.Context(), "in time", bound); err != nil || r.Position != 1 {
			t.Errorf("in its tenure: %+v, %v", r, err)
		}
		_, err := b.put(t.Context(), "elsewhere", bound)
		refused("at another node", err, 1)
		_, err = a.put(t.Context(), "none", Options{Bound: true})
		refused("in no tenure", err, 1)

		a.hold()
		done := make(chan error, 1)
		go func() {
			_, err := a.put(t.Context(), "lost", bound)
			done <- err
		}()
		virtual.Wait()
		a.mu.Lock()
		a.held, a.holding = nil, false
		a.mu.Unlock()
		a.StepDown()
		a.mu.Lock()
		a.route = standing.Route{Addr: "b"}
		a.mu.Unlock()
		_, err = a.put(t.Context(), "after the end", bound)
		refused("after the end of the tenure", err, 2)
		a.Resolve([]region.Outcome{{Term: 2, Index: 1}})
		refused("lost", <-done, 2)
		a.Lead(3)
		_, err = a.put(t.Context(), "too late", bound)
		refused("in the next tenure of the same node", err, 2)
	})
}
