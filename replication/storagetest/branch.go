package storagetest

import (
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// A branch of a checkpoint goes on as the storage itself did, and neither changes the other.
func branch(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	b, ok := r.Storage().(contract.Brancher)
	if !ok {
		t.Skip("the storage is no Brancher")
	}
	dirs := directoriesOf(r)
	third, half := len(h.events)/3, len(h.events)/2
	r.apply(third, 7)
	from := r.checkpoint(b, dirs)
	r.apply(len(h.events), 7)
	for _, size := range []int{7, 1} { // twice: the checkpoint stays as it is
		to := dirs.NewDir()
		h.branchOff(t, b, from, to, third, half, size)
		r.check("beside a branch")
		if err := b.Install(to, nil); err != nil {
			t.Fatalf("Install of what a branch came to: %v", err)
		}
		r.at = half
		r.check("installed what a branch came to")
		r.apply(len(h.events), 7)
		r.check("installed what a branch came to, and applied further")
	}
	if _, err := b.Branch(dirs.NewDir()); err == nil {
		t.Error("Branch of a directory that does not exist returned no error")
	}
	r.check("after a Branch that failed")
}

// A branch goes on while the storage does.
func branchBeside(t *testing.T, s Suite) {
	h := newHistory(s, length)
	h.reference(t)
	r := h.replica(t)
	b, ok := r.Storage().(contract.Brancher)
	if !ok {
		t.Skip("the storage is no Brancher")
	}
	dirs := directoriesOf(r)
	third, half := len(h.events)/3, len(h.events)/2
	r.apply(third, 7)
	from, to := r.checkpoint(b, dirs), dirs.NewDir()
	applied := r.goesOn()
	h.branchOff(t, b, from, to, third, half, 1)
	applied()
	r.check("after a branch beside it")
	r.install(to, half, "what a branch came to")
}

// goesOn has another goroutine apply what is left, and returns what waits for that.
func (r *replica) goesOn() (applied func()) {
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = r.rest(2)
	}()
	r.t.Cleanup(func() { <-done }) // before the storage is closed
	return func() {
		r.t.Helper()
		<-done
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// branchOff makes the checkpoint to of the place until, from the one that is the checkpoint from.
func (h *history) branchOff(t *testing.T, b contract.Brancher, from, to string, at, until, size int) {
	t.Helper()
	o, err := b.Branch(from)
	if err != nil {
		t.Fatalf("Branch: %v", err)
	}
	side := &replica{Engine: onlyStorage{storage: sideStorage{Branch: o}}, t: t, history: h, at: at}
	side.apply(until, size)
	if err := o.Checkpoint(to); err != nil {
		t.Fatalf("Checkpoint of a branch: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatalf("Close of a branch: %v", err)
	}
}

// onlyStorage is an Engine of which nothing but the storage is asked.
type onlyStorage struct {
	Engine
	storage contract.Storage
}

func (o onlyStorage) Storage() contract.Storage { return o.storage }

// sideStorage is a Storage to which nothing is done but what a Branch does.
type sideStorage struct {
	contract.Storage
	contract.Branch
}

func (s sideStorage) Apply(b *contract.Batch) ([][]byte, error) { return s.Branch.Apply(b) }
func (s sideStorage) Begin(r contract.Reign, m *contract.Metadata) error {
	return s.Branch.Begin(r, m)
}
