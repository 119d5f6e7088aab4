package storagetest

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// installs has the storage take the checkpoint in dir.
func (r *replica) installs(dir string, meta *contract.Metadata) error {
	r.t.Helper()
	c, ok := r.Storage().(contract.Checkpointer)
	if !ok {
		r.t.Fatal("the storage of a replica that Crashed returned is no Checkpointer")
	}
	return c.Install(dir, meta)
}

// install puts the checkpoint in dir, which is of the place at, in the place of the state.
func (r *replica) install(dir string, at int, what string) {
	r.t.Helper()
	if err := r.installs(dir, nil); err != nil {
		r.t.Fatalf("Install of %s: %v", what, err)
	}
	r.at = at
	r.check("installed " + what)
}

// synced has everything durable that was applied.
func (r *replica) synced() {
	r.t.Helper()
	switch err := r.Storage().Sync(); {
	case errors.Is(err, contract.ErrVolatile):
		r.t.Skip("the storage keeps nothing on disk")
	case err != nil:
		r.t.Fatalf("Sync: %v", err)
	}
}

// An Install that fails leaves the former state, and a storage that goes on. It says of what is no checkpoint any more
// that it is damaged; how much of that it finds is for the storage, or for a Verifier.
func installThatFails(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	c, dirs := checkpointerOf(r)
	half := len(h.events) / 2
	r.apply(half, 7)
	dir := r.checkpoint(c, dirs)
	list := damages(t, dirs, dir)
	r.apply(len(h.events), 7)
	r.synced()
	var after *replica // one that has taken nothing of that
	for _, d := range list {
		if after == nil {
			after = adopt(t, h, r.Crashed(t), r.at)
		}
		err := after.installs(d.dir, h.metadata(1))
		switch {
		case err == nil && len(d.files) == 0:
			t.Fatal("Install of a directory with nothing in it returned no error")
		case err == nil: // nobody knows what it has now
			after.spoiled = true
			after = nil
			continue
		case !errors.Is(err, contract.ErrDamaged):
			t.Errorf("Install of a checkpoint of which %s: %v, which does not wrap ErrDamaged", d.what, err)
		}
		after.check("after an Install that failed, as " + d.what)
	}
	after.install(dir, half, "a checkpoint behind damaged ones")
	after.apply(len(h.events), 7)
	after.check("installed a checkpoint behind damaged ones, and applied further")
}

// cutInstalls is how often the power is cut within an Install, and a Checkpoint.
const cutInstalls = 10

// installCutOff cuts the power within an Install: the former state is left or the new one, whole, and it can be
// installed again. Within a Checkpoint nothing is lost.
func installCutOff(t *testing.T, s Suite) {
	if !s.CrashInside {
		t.Skip("Suite.CrashInside is not set")
	}
	h := newHistory(s, length)
	r := h.replica(t)
	c, dirs := checkpointerOf(r)
	h.reference(t)
	random := rand.New(rand.NewPCG(s.Seed, 3))
	installs, checkpoints := newCutter(t, random), newCutter(t, random)
	half, whole := len(h.events)/2, len(h.events)
	r.apply(half, 7)
	dir := r.checkpoint(c, dirs)
	for range cutInstalls {
		r.apply(whole, 30)
		r.synced()
		crashed, err := installs.within(r, func() error { return c.Install(dir, nil) })
		if err != nil {
			t.Fatalf("Install: %v", err)
		}
		after := adopt(t, h, crashed, 0)
		if after.at = after.place(); after.at != half && after.at != whole {
			t.Fatalf("after a power cut within an Install: event %d, which is neither of the two states", after.at)
		}
		after.check("after a power cut within an Install")
		after.install(dir, half, "a checkpoint once more, behind a power cut within an Install")
		r.at = half
		r.apply(whole, 30)
		to := dirs.NewDir()
		if crashed, err = checkpoints.within(r, func() error { return c.Checkpoint(to) }); err != nil {
			t.Fatalf("Checkpoint: %v", err)
		}
		after = adopt(t, h, crashed, 0)
		if after.at = after.place(); after.at < half || after.at > whole {
			t.Fatalf("after a power cut within a Checkpoint: event %d; %d are durable", after.at, half)
		}
		after.check("after a power cut within a Checkpoint")
	}
}

// place returns how many events the storage has by its own word.
func (r *replica) place() int {
	r.t.Helper()
	m := r.loaded()
	if m == nil {
		return 0
	}
	return int(m.AppliedIndex)
}
