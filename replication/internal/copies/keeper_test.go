package copies

import (
	"errors"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
)

// unsettled is a disk on which the directory of a keeper cannot be synced once a copy has a name in it, while it fails.
type unsettled struct {
	durable.FS
	fails error
}

func (u *unsettled) SyncDir(dir string) error {
	if _, err := u.Stat(filepath.Join(dir, "1")); err == nil && u.fails != nil {
		return u.fails
	}
	return u.FS.SyncDir(dir)
}

// TestACopyWhoseNameCouldNotBeSyncedIsKeptAgain (C4), on a real disk, where the name is taken: there may have been no
// room, and what is kept then is the state as it is then.
func TestACopyWhoseNameCouldNotBeSyncedIsKeptAgain(t *testing.T) {
	disk, e := &unsettled{FS: durable.OS}, enginetest.Volatile()
	dir := filepath.Join(t.TempDir(), "kept")
	m := NewMaker(disk, e)
	k := NewKeeper(m, dir)
	meta := put(t, e, "a")
	keep := func(record string) error {
		t.Helper()
		p, err := k.Begin(&contract.Metadata{
			AppliedIndex: meta.AppliedIndex, Position: meta.Position, Record: []byte(record),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.Keep(p)
		return err
	}
	disk.fails = syscall.ENOSPC
	for range 3 {
		if err := keep("before"); !errors.Is(err, syscall.ENOSPC) || k.Kept() != 0 {
			t.Fatalf("kept %d, %v", k.Kept(), err)
		}
	}
	disk.fails = nil
	if err := keep("now"); err != nil || k.Kept() != 1 {
		t.Fatalf("there is room, and kept is %d, %v", k.Kept(), err)
	}
	if names, err := disk.List(dir); err != nil || !slices.Equal(names, []string{"1"}) {
		t.Errorf("on disk: %v, %v", names, err)
	}
	if kept, err := m.Metadata(filepath.Join(dir, "1")); err != nil || string(kept.Record) != "now" {
		t.Errorf("kept is %+v, %v", kept, err)
	}
}
