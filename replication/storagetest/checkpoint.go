package storagetest

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// checkpointerOf returns the storage of a replica as one that makes checkpoints.
func checkpointerOf(r *replica) (contract.Checkpointer, Directories) {
	r.t.Helper()
	c, ok := r.Storage().(contract.Checkpointer)
	if !ok {
		r.t.Skip("the storage is no Checkpointer")
	}
	return c, directoriesOf(r)
}

func directoriesOf(r *replica) Directories {
	r.t.Helper()
	dirs, ok := r.Engine.(Directories)
	if !ok {
		r.t.Fatal("the storage is a Checkpointer, and its Engine is no storagetest.Directories")
	}
	return dirs
}

// checkpoint makes one of the state as it is.
func (r *replica) checkpoint(c contract.Checkpointer, dirs Directories) (dir string) {
	r.t.Helper()
	dir = dirs.NewDir()
	if err := c.Checkpoint(dir); err != nil {
		r.t.Fatalf("Checkpoint: %v", err)
	}
	return dir
}

// A storage that makes checkpoints of its files is held to the same as one that writes snapshots.
func checkpoint(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	c, dirs := checkpointerOf(r)
	half := len(h.events) / 2
	r.apply(half-1, 7)
	r.failsTo(c, dirs)
	r.apply(half, 7)
	dir := r.checkpoint(c, dirs)
	adopt(t, h, r.Crashed(t), 0).install(dir, half, "a checkpoint behind a power cut") // nothing else has synced it
	r.apply(len(h.events), 7)
	given := h.metadata(half)
	given.AppliedIndex, given.Record = 99_999, []byte("of this region")
	for _, meta := range []*contract.Metadata{nil, given} { // twice: it stays as it is
		if err := c.Install(dir, meta); err != nil {
			t.Fatalf("Install: %v", err)
		}
		r.at = half
		if meta == nil {
			r.check("installed")
			continue
		}
		if m := r.loaded(); !equal(m, meta) {
			t.Fatalf("metadata %+v, want the given %+v", m, meta)
		}
		r.checkContents("installed with other metadata")
	}
	after := adopt(t, h, r.Crashed(t), half)
	if m := after.loaded(); !equal(m, given) {
		t.Fatalf("after a power cut behind an Install: metadata %+v, want %+v", m, given)
	}
	after.checkContents("after a power cut behind an Install")
	r.apply(len(h.events), 7)
	r.check("installed, and applied further")
	if err := c.Install(dirs.NewDir(), nil); !errors.Is(err, contract.ErrDamaged) {
		t.Errorf("Install of a directory that does not exist: %v, which does not wrap ErrDamaged", err)
	}
	r.check("after an Install that failed")
}

// failsTo has a Checkpoint fail, as it makes its directory: that it did it says, and what it did not make durable the
// next Sync does, or says that it did not.
func (r *replica) failsTo(c contract.Checkpointer, dirs Directories) {
	r.t.Helper()
	taken := filepath.Join(dirs.NewDir(), "taken")
	putFiles(r.t, dirs.FS(), filepath.Dir(taken), []file{{filepath.Base(taken), []byte("in the way")}})
	if err := c.Checkpoint(filepath.Join(taken, "dir")); err == nil {
		r.t.Fatal("Checkpoint returned no error where a file of FS is in the way of its directory")
	}
	r.check("after a Checkpoint that failed")
	switch err := r.Storage().Sync(); {
	case err == nil:
		r.survives("after a Sync behind a Checkpoint that failed", r.at)
	case !errors.Is(err, contract.ErrVolatile):
		r.t.Fatalf("Sync behind a Checkpoint into a directory that cannot be made: %v", err)
	}
}
