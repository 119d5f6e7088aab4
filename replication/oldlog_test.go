package replication_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestAnOlderCopyOfTheLogAloneIsRefused: the log of a directory is put back to what it was one start ago, beside a
// state that is newer, or as old. What was acknowledged since is not in it, nor for whom the node voted, and nobody is
// there who could tell. With the newer log the node goes on.
func TestAnOlderCopyOfTheLogAloneIsRefused(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		c := alone()
		c.FS, c.DataDir = pebblefs.New(disk), "/one"
		use := func() {
			r := startAlone(t, c, &ledger{})
			writeOne(t, r)
			if err := r.Shutdown(); err != nil {
				t.Fatal(err)
			}
		}
		use()
		if err := copyAll(disk, "/one/wal", "/older"); err != nil {
			t.Fatal(err)
		}
		use()
		err := errors.Join(disk.Rename("/one/wal", "/newer"), copyAll(disk, "/older", "/one/wal"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a try changes nothing
			r, err := replication.NewRaftReplicator(c, &ledger{})
			if err != nil {
				t.Fatal(err)
			}
			r.SetTransport(memory.NewNetwork(clock.Real, 1).Node("us-1"))
			err = r.Start(t.Context())
			if !errors.Is(err, replication.ErrDamaged) || !strings.Contains(err.Error(), "older copy") {
				t.Errorf("started: %v", err)
			}
			if err := r.Shutdown(); err != nil {
				t.Fatal(err)
			}
		}
		err = errors.Join(disk.RemoveAll("/one/wal"), disk.Rename("/newer", "/one/wal"))
		if err != nil {
			t.Fatal(err)
		}
		use()
	})
}
