package raftgroup

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// TestCommitIndexCostsNoSync writes one entry after the other, so that each is followed by a message that says no more
// than that it is committed, and counts syncs of the logs: nearly one for each entry on each member.
func TestCommitIndexCostsNoSync(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		c := newCluster(t, 3)
		c.wrap = func(fs vfs.FS) vfs.FS {
			return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpFileSyncData {
					syncs.Add(1)
				}
				return nil
			}))
		}
		c.startAll()
		defer c.close()
		c.write("first")
		c.converge()
		before := syncs.Load()
		const entries, ends = 50, 10 // a segment that ends is synced too
		for i := range entries {
			c.write(fmt.Sprint(i))
			c.converge()
		}
		if got, most := syncs.Load()-before, int64(3*entries+ends); got > most {
			t.Errorf("%d syncs for %d entries on 3 members, want at most %d", got, entries, most)
		}
	})
}
