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
	r.stayed()
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
		if c, ok := s.(contract.Checkpointer); ok && n%3 == 1 && len(r.made) < mostMade {
			dirs := directoriesOf(r)
			dir := r.checkpoint(c, dirs)
			r.made = append(r.made, made{dir, r.at, filesOf(r.t, dirs.FS(), dir)})
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

// made is a checkpoint that was made beside a Sync.
type made struct {
	dir   string
	at    int
	files []file
}

// mostMade is how many checkpoints a replica makes beside its syncs.
const mostMade = 8

// stayed checks that the checkpoints that a replica made are what they were then, and the states of their places.
func (r *replica) stayed() {
	r.t.Helper()
	if len(r.made) == 0 {
		return
	}
	fs := directoriesOf(r).FS()
	for _, m := range r.made {
		if what := changed(m.files, filesOf(r.t, fs, m.dir)); what != "" {
			r.t.Fatalf("a checkpoint that was made beside a Sync is another one later on: %s", what)
		}
	}
	after := adopt(r.t, r.history, r.Crashed(r.t), 0)
	for _, m := range r.made {
		after.install(m.dir, m.at, "a checkpoint that was made beside a Sync")
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
