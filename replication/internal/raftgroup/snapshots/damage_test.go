package snapshots

import (
	"fmt"
	"path/filepath"
	"testing"

	"go.etcd.io/raft/v3"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// rotten says of the file "state" that it is not what was written.
var rotten = Look{File: func(_, name string) error {
	if filepath.Base(name) == "state" {
		return fmt.Errorf("%w: a block of %s", checkpoint.ErrCorrupt, name)
	}
	return nil
}}

// P7: what is not what was written is not sent, and the state's owner is told.
func TestADamagedStateIsNotSent(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		told := make(chan error, 1)
		a.Outgoing.config.Look, a.Outgoing.config.Damaged = rotten, func(err error) { told <- err }
		if _, err := a.Snapshot(); err == nil {
			t.Fatal("one is there at once")
		}
		a.settle()
		if len(told) != 1 || a.pinned() != 0 || a.made() {
			t.Errorf("told %d times; log kept from %d, made: %t", len(told), a.pinned(), a.made())
		}
	})
}

// P7: raft does not hear of one that its sender summed as his disk had spoiled it; and that is sent no further.
func TestADamagedStateIsNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		s := a.snapshot()
		b.Incoming.config.Look = rotten
		if status := a.send(2, s); status != raft.SnapshotFailure || len(b.received) != 0 {
			t.Error("raft was told of it")
		}
		b.Incoming.config.Look = Look{}
		a.tick(electionTicks)
		if status := a.send(2, s); status != raft.SnapshotFailure || len(b.received) != 0 {
			t.Error("it was sent again")
		}
		a.tick(electionTicks)
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish {
			t.Error("another one was not sent")
		}
	})
}
