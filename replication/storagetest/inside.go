package storagetest

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// powerCutInside cuts the power while Apply, Begin and Sync run: what is left are the contents and the metadata of one
// place, behind a whole batch or one of its cuts, and everything that was synced before.
func powerCutInside(t *testing.T, s Suite) {
	if !s.CrashInside {
		t.Skip("Suite.CrashInside is not set")
	}
	h := newHistory(s, length)
	h.reference(t)
	random := rand.New(rand.NewPCG(s.Seed, 2))
	for _, size := range []int{30, 7, 30, 7, 30} {
		cutWithin(t, h, size, random)
	}
}

// ended tells of one call.
type ended struct {
	err  error
	took time.Duration
}

// cutWithin applies the whole history in batches of at most size commands, and cuts the power once within each call, or
// about then.
func cutWithin(t *testing.T, h *history, size int, random *rand.Rand) {
	t.Helper()
	r := h.replica(t)
	steps, done := make(chan func() error), make(chan ended)
	defer close(steps)
	go func() {
		for step := range steps {
			began := time.Now()
			err := step()
			done <- ended{err, time.Since(began)}
		}
	}()
	synced, usual := 0, time.Duration(0) // what a call takes
	for calls := 0; r.at < len(h.events); calls++ {
		step, to := r.next(size)
		syncs := calls%5 == 4
		if syncs {
			step, to = r.Storage().Sync, r.at
		}
		wait := time.Duration(random.Int64N(int64(usual) + 1))
		began := time.Now()
		steps <- step
		for time.Since(began) < wait { // a sleep would be longer than most calls
			runtime.Gosched()
		}
		crashed := r.Crashed(t)
		end := <-done
		err := end.err
		usual = (usual + end.took) / 2
		volatile := syncs && errors.Is(err, contract.ErrVolatile)
		if err != nil && !volatile {
			t.Fatal(err)
		}
		after := adopt(t, h, crashed, 0)
		if m := after.loaded(); m != nil {
			after.at = int(m.AppliedIndex)
		}
		if after.at < synced || after.at > to {
			t.Fatalf("after a power cut within a call: event %d; %d were applied, %d synced", after.at, to, synced)
		}
		after.check("after a power cut within a call")
		if r.at = to; syncs && !volatile {
			synced = to
		}
	}
}

// next returns the call that applies what comes next, at most size commands or a beginning, and the place behind it.
func (r *replica) next(size int) (call func() error, to int) {
	h, s := r.history, r.Storage()
	if reign := h.events[r.at].reign; reign != nil {
		m := h.metadata(r.at + 1)
		return func() error { return s.Begin(*reign, m) }, r.at + 1
	}
	at := r.at
	b, to := h.batch(at, size)
	return func() error {
		_, err := s.Apply(b)
		return errors.Join(err, h.unchanged(b, at))
	}, to
}
