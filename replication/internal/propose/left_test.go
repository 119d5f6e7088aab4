package propose

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// What turns out not to be written is sent anew for whoever still waits, and for nobody else: it would be written at
// any time later.
func TestWhatNobodyWaitsForIsNotSentAnew(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		a.hold()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.put(ctx, "left", Options{})
		if !errors.Is(err, contract.ErrUnknownOutcome) {
			t.Errorf("left: %v", err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := a.put(t.Context(), "stays", Options{})
			done <- err
		}()
		synctest.Wait()
		if a.frames() != 2 {
			t.Fatalf("%d frames in flight", a.frames())
		}
		a.mu.Lock()
		a.held, a.holding = nil, false
		a.mu.Unlock()
		a.StepDown()
		a.Resolve([]region.Outcome{{Term: 2, Index: 1}}) // so that both are lost
		a.Lead(2)
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if a.frames() != 3 || !a.parking.empty() {
			t.Errorf("%d frames, nothing parked: %t", a.frames(), a.parking.empty())
		}
	})
}
