package checkpoint_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

// unsettled is a disk on which a directory that holds a whole checkpoint cannot be synced, while it fails.
type unsettled struct {
	durable.FS
	fails bool
}

func (u *unsettled) SyncDir(dir string) error {
	if _, err := checkpoint.Load(u.FS, dir); err == nil && u.fails {
		return syscall.EIO
	}
	return u.FS.SyncDir(dir)
}

// A checkpoint of which the last sync failed is there, and is not durable: it is complete once another attempt has
// synced it.
func TestACheckpointThatIsThereIsSyncedBeforeItCounts(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from := vfs.NewMem()
		write(t, from, "source/one", []byte("table"))
		m, err := describe(from, "source", [16]byte{1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		disk := vfs.NewCrashableMem()
		to := &unsettled{FS: pebblefs.New(disk), fails: true}
		attempt := func() error {
			mine, other, end := pair(t)
			defer end()
			go func() { _ = checkpoint.Send(t.Context(), line(other), pebblefs.New(from), "source", m) }()
			_, err := checkpoint.Receive(t.Context(), line(mine), to, "target", nil, nil)
			return err
		}
		for range 2 { // the second finds all that the first left
			if err := attempt(); !errors.Is(err, syscall.EIO) {
				t.Errorf("what a power cut may take counts as complete: %v", err)
			}
		}
		to.fails = false
		if err := attempt(); err != nil {
			t.Fatal(err)
		}
		cut := disk.CrashClone(vfs.CrashCloneCfg{})
		if left, err := checkpoint.Load(pebblefs.New(cut), "target"); err != nil || left.ID != m.ID {
			t.Fatalf("a power cut left %v, %v", left, err)
		}
	})
}
