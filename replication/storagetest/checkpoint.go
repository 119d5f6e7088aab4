package storagetest

import (
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// A storage that makes checkpoints of its files is held to the same as one that writes snapshots.
func checkpoint(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	c, ok := r.Storage().(contract.Checkpointer)
	if !ok {
		t.Skip("the storage is no Checkpointer")
	}
	dirs, ok := r.Engine.(Directories)
	if !ok {
		t.Fatal("the storage is a Checkpointer, and its Engine has no NewDir")
	}
	half := len(h.events) / 2
	r.apply(half, 7)
	dir := dirs.NewDir()
	if err := c.Checkpoint(dir); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
	verified(t, c, dir)
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
	if err := c.Install(dirs.NewDir(), nil); err == nil {
		t.Error("Install of a directory that does not exist returned no error")
	}
	r.check("after an Install that failed")
}

// verified has a storage that can tell look at its own checkpoint: it finds nothing wrong.
func verified(t *testing.T, c contract.Checkpointer, dir string) {
	t.Helper()
	v, ok := c.(contract.Verifier)
	if !ok {
		return
	}
	if err := v.Verify(dir); err != nil {
		t.Errorf("Verify of a checkpoint: %v", err)
	}
}
