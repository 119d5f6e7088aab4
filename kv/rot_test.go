package kv

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// flip changes a bit of a byte of a file.
func flip(t *testing.T, fs vfs.FS, path string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWhatRottedIsInNoCopy: wherever in a table a bit turns, a copy fails, and the owner of the store is told as if it
// had been read.
func TestWhatRottedIsInNoCopy(t *testing.T) {
	fs, told := vfs.NewMem(), make(chan error, 1)
	n := openNodeWith(t, Options{
		FS: fs, Logger: quiet(), OnFailure: func(err error) { told <- err }, CountBytes: -1, // nothing else reads it
	})
	for i := range 3 { // older versions lie elsewhere in a table
		for _, key := range []string{"a", "b", "c"} {
			n.apply(put(key, strings.Repeat(fmt.Sprint(i, key), 50)))
		}
	}
	if err := n.Sync(); err != nil {
		t.Fatal(err)
	}
	n.apply(put("d", "4"))
	var whole strings.Builder
	if err := n.SnapshotTo(&whole, nil); err != nil {
		t.Fatal(err)
	}
	refused := func(path string, at int64) {
		t.Helper()
		flip(t, fs, path, at)
		err := n.SnapshotTo(io.Discard, nil)
		flip(t, fs, path, at)
		if !errors.Is(err, replication.ErrDamaged) {
			t.Fatalf("byte %d of %s: %v", at, path, err)
		}
		if err := <-told; !errors.Is(err, replication.ErrDamaged) {
			t.Fatalf("byte %d of %s: the owner is told %v", at, path, err)
		}
	}
	// Afterwards there is nothing to compact, and a copy has those tables that stay.
	if err := errors.Join(Defragment(t.Context(), n.Store), n.Checkpoint("copy")); err != nil {
		t.Fatal(err)
	}
	for _, table := range tablesIn(t, fs, "copy") {
		path := fs.PathJoin("store", generationName(1), fs.PathBase(table))
		size := int64(len(readFile(t, fs, path)))
		for at := int64(0); at < size; at += 53 {
			refused(path, at)
		}
		refused(path, size-1)
	}
	var again strings.Builder
	if err := n.SnapshotTo(&again, nil); err != nil {
		t.Fatal(err)
	}
	other := newNode(t)
	if err := other.Restore(strings.NewReader(again.String()), nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "restored", other.fingerprint(), n.fingerprint())
}
