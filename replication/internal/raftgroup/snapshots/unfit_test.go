package snapshots

import (
	"path/filepath"
	"testing"

	"go.etcd.io/raft/v3"

	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// P6: of a state that is found to be wrong no more is sent, and nothing of what was made of it when another took its
// place.
func TestWhatIsFoundToBeWrongIsSentNoFurther(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		s := a.snapshot()
		a.unfit.Store(true)
		if status := a.send(2, s); status != raft.SnapshotFailure || len(b.received) != 0 {
			t.Error("sent what is wrong")
		}
		a.Forget() // as a rebuild does
		a.unfit.Store(false)
		a.settle()
		if a.pinned() != 0 || a.made() {
			t.Error("it is kept")
		}
		if status := a.send(2, s); status != raft.SnapshotFailure || len(b.received) != 0 {
			t.Error("sent what was wrong")
		}
		a.tick(electionTicks)
		a.set(func() { a.copied = a.Forget })
		if _, err := a.Snapshot(); err == nil {
			t.Error("the one of before is offered")
		}
		if a.settle(); a.pinned() != 0 || a.made() {
			t.Error("one is kept that was begun before")
		}
		a.set(func() { a.copied = nil })
		a.tick(electionTicks)
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish {
			t.Error("not sent when it was mended")
		}
	})
}

// made reports whether something of a checkpoint to be sent is on the disk.
func (n *node) made() bool {
	_, err := n.fs.Stat(filepath.Join("staging", outgoingDir))
	return err == nil
}
