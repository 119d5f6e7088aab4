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

// cutter cuts the power within calls, or about then.
type cutter struct {
	random *rand.Rand
	usual  time.Duration // what a call takes
	steps  chan func() error
	done   chan ended
}

func newCutter(t testing.TB, random *rand.Rand) *cutter {
	c := &cutter{random: random, steps: make(chan func() error), done: make(chan ended, 1)}
	go func() {
		for step := range c.steps {
			began := time.Now()
			err := step()
			c.done <- ended{err, time.Since(began)}
		}
	}()
	t.Cleanup(func() { close(c.steps) })
	return c
}

// within makes a call, and returns what a power cut within it leaves of r, and the error of the call.
func (c *cutter) within(r *replica, step func() error) (Engine, error) {
	r.t.Helper()
	wait := time.Duration(c.random.Int64N(int64(c.usual) + 1))
	began := time.Now()
	c.steps <- step
	for time.Since(began) < wait { // a sleep would be longer than most calls
		runtime.Gosched()
	}
	crashed := r.Crashed(r.t)
	end := <-c.done
	c.usual = (c.usual + end.took) / 2
	return crashed, end.err
}

// cutWithin applies the whole history in batches of at most size commands, and cuts the power once within each call, or
// about then.
func cutWithin(t *testing.T, h *history, size int, random *rand.Rand) {
	t.Helper()
	r, c := h.replica(t), newCutter(t, random)
	synced := 0
	for calls := 0; r.at < len(h.events); calls++ {
		step, to := r.next(size)
		syncs := calls%5 == 4
		if syncs {
			step, to = r.Storage().Sync, r.at
		}
		crashed, err := c.within(r, step)
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

// rest applies what is left, from a goroutine that cannot end a test.
func (r *replica) rest(size int) error {
	for r.at < len(r.history.events) {
		step, to := r.next(size)
		if err := step(); err != nil {
			return err
		}
		r.at = to
	}
	return nil
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
