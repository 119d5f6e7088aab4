package storagetest

import (
	"errors"
	"runtime"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// A Sync runs beside Apply, Begin and Snapshot, though never beside another Sync. What was applied before it is durable
// when it returns, and what was applied meanwhile when the next one does.
func syncBeside(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	for r.at < len(h.events) {
		before := r.at
		if err := r.whileSyncing(); errors.Is(err, contract.ErrVolatile) {
			continue
		} else if err != nil {
			t.Fatalf("Sync beside others: %v", err)
		}
		r.survives("after a Sync beside others", before)
		if err := r.Storage().Sync(); err != nil {
			t.Fatalf("Sync: %v", err)
		}
		r.survives("after a Sync behind one that ran beside others", r.at)
	}
	r.check("after its syncs")
}

// whileSyncing applies events, and takes views, until a Sync has returned, which returns its error.
func (r *replica) whileSyncing() error {
	r.t.Helper()
	begins, ended := make(chan struct{}), make(chan error, 1)
	s := r.Storage()
	go func() {
		close(begins)
		ended <- s.Sync()
	}()
	<-begins
	for n := 1; ; n++ {
		r.apply(min(len(r.history.events), r.at+2), 2)
		if _, ok := s.(contract.Checkpointer); !ok && n%3 == 0 {
			_ = written(r.t, view(r.t, r))
		}
		if dirs, ok := r.Engine.(Directories); ok && n%3 == 0 {
			r.checkpointed(dirs.NewDir())
		}
		if r.at == len(r.history.events) || n == 6 {
			return <-ended
		}
		runtime.Gosched()
		select {
		case err := <-ended:
			return err
		default:
		}
	}
}

// checkpointed makes a checkpoint in dir, if the storage makes any.
func (r *replica) checkpointed(dir string) {
	r.t.Helper()
	c, ok := r.Storage().(contract.Checkpointer)
	if !ok {
		return
	}
	if err := c.Checkpoint(dir); err != nil {
		r.t.Fatalf("Checkpoint beside a Sync: %v", err)
	}
}

// survives cuts the power: what is left is of one place, the first ones at least.
func (r *replica) survives(what string, first int) {
	r.t.Helper()
	after := adopt(r.t, r.history, r.Crashed(r.t), 0)
	m := after.loaded()
	if m == nil {
		m = &contract.Metadata{}
	}
	if after.at = int(m.AppliedIndex); after.at < first || after.at > r.at {
		r.t.Fatalf("%s, and a power cut: event %d; %d were applied, %d are durable", what, after.at, r.at, first)
	}
	after.check(what + ", and a power cut")
}
