package snapshots

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// stuck is a disk on which nothing can be removed, as long as it fails.
type stuck struct {
	durable.FS
	fails atomic.Bool
}

func (s *stuck) RemoveAll(name string) error {
	if s.fails.Load() {
		return syscall.EMFILE
	}
	return s.FS.RemoveAll(name)
}

// tidies has so much time pass as Tidy lets pass, and returns what is here of checkpoints then.
func (n *node) tidies(applied uint64) []string {
	n.t.Helper()
	for range uselessFor {
		n.Incoming.Tidy(applied, false)
	}
	return n.lies()
}

// lies returns what is here of checkpoints.
func (n *node) lies() []string {
	n.t.Helper()
	n.settle()
	names, err := n.names()
	if err != nil {
		n.t.Fatal(err)
	}
	return names
}

// part leaves a part of a checkpoint, of which nothing came before.
func (n *node) part(s *raftpb.Snapshot) {
	n.t.Helper()
	if err := n.fs.MkdirAll(filepath.Join(n.Dir(s.GetData()), "part")); err != nil {
		n.t.Fatal(err)
	}
}

// breaksOff has somebody offer a checkpoint to member 2, and no more.
func breaksOff(t *testing.T, net *memory.Network, s *raftpb.Snapshot) {
	t.Helper()
	leader := net.Node("leader")
	defer leader.Close()
	offer, err := encodeOffer(5, s)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := leader.Open(t.Context(), "2", Service)
	for _, p := range [][]byte{peers.Hello{Group: "test", From: 1, To: 2}.Encode(), offer, []byte("no checkpoint")} {
		if err == nil {
			err = stream.Send(p)
		}
	}
	for err == nil {
		_, err = stream.Recv()
	}
}

// P4: a part of which the rest never came, since the log of the next leader led on, goes: not while it may be offered
// again, and not before this node has come as far without it.
func TestAPartThatNobodyNeedsGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		s := sampleSnapshot()
		index := s.GetMetadata().GetIndex()
		breaksOff(t, net, s)
		b.part(s)
		for range uselessFor - 1 {
			b.Incoming.Tidy(index, false)
		}
		if len(b.lies()) != 1 {
			t.Error("gone while its leader may go on")
		}
		if len(b.tidies(index-1)) != 1 {
			t.Error("gone while this node needs it")
		}
		if left := b.tidies(index); len(left) != 0 {
			t.Errorf("this node has as much, and there is still %v", left)
		}
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish {
			t.Error("the place is still taken")
		}
	})
}

// P4: nobody knows of what entry a part is that a former life left; a node that needs it gets no further.
func TestAPartOfAFormerLifeGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		b.part(sampleSnapshot())
		for range 2 {
			if len(b.tidies(b.applied)) != 1 {
				t.Error("gone while this node gets no further")
			}
		}
		if left := b.tidies(b.applied + 1); len(left) != 0 {
			t.Errorf("the log leads on, and there is still %v", left)
		}
		a.part(sampleSnapshot())
		if left := a.tidies(a.applied + 1); len(left) != 0 {
			t.Errorf("it led on at the start, nothing more was written, and there is still %v", left)
		}
	})
}

// P4: nor does a part keep the room without which this node gets no further, but while it comes, or is installed.
func TestAPartGoesWhileTheDiskIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		s := sampleSnapshot()
		breaksOff(t, net, s)
		b.part(s)
		b.Incoming.Tidy(s.GetMetadata().GetIndex()-1, true)
		if left := b.lies(); len(left) != 0 {
			t.Errorf("there is no room, and there is still %v", left)
		}
		whole := a.snapshot()
		if status := a.send(2, whole); status != raft.SnapshotFinish {
			t.Fatal("not delivered")
		}
		b.Incoming.Tidy(0, true)
		if b.settle(); b.state(whole) != "7" {
			t.Error("gone before it was installed")
		}
	})
}

// P4: what could not be removed once it was installed is not left there for good, and what waits to be installed stays.
func TestWhatCouldNotBeRemovedGoesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		disk := &stuck{FS: b.fs}
		b.Incoming.config.FS = disk
		s := a.snapshot()
		if status := a.send(2, s); status != raft.SnapshotFinish {
			t.Fatal("not delivered")
		}
		if b.tidies(100); b.state(s) != "7" {
			t.Error("gone before it was installed")
		}
		disk.fails.Store(true)
		b.Remove(s.GetData())
		if len(b.tidies(7)) != 1 {
			t.Fatal("removed although nothing can be")
		}
		disk.fails.Store(false)
		if left := b.tidies(7); len(left) != 0 {
			t.Errorf("still there: %v", left)
		}
	})
}

// P4: nor is what was made for others.
func TestWhatWasMadeAndCouldNotBeRemovedGoesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		disk := &stuck{FS: a.fs}
		a.Outgoing.config.FS = disk
		a.snapshot()
		disk.fails.Store(true)
		a.tick(idleElections*electionTicks + 1)
		a.settle()
		a.Outgoing.Tidy()
		if a.settle(); !a.made() {
			t.Fatal("removed although nothing can be")
		}
		disk.fails.Store(false)
		a.Outgoing.Tidy()
		if a.settle(); a.made() {
			t.Error("still there, for nobody")
		}
	})
}

// That something cannot be removed is said once, and that it was removed, wherever that is found.
func TestWhatCannotBeRemovedIsSaidOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		disk, said := &stuck{FS: a.fs}, &strings.Builder{}
		a.Outgoing.config.FS, a.Outgoing.config.Logger = disk, slog.New(slog.NewTextHandler(said, nil))
		disk.fails.Store(true)
		if _, err := a.Snapshot(); err == nil {
			t.Fatal("one was made")
		}
		a.settle()
		for range 3 {
			a.Outgoing.Tidy()
			a.settle()
		}
		disk.fails.Store(false)
		for range 3 {
			a.Outgoing.Tidy()
			a.settle()
		}
		for _, what := range []string{"checkpoint not removed", "a checkpoint was removed"} {
			if n := strings.Count(said.String(), what); n != 1 {
				t.Errorf("%q is said %d times in\n%s", what, n, said)
			}
		}
	})
}

// What a former life made for others hinders no start if it cannot be removed, and goes later (P4).
func TestWhatAFormerLifeMadeGoesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		a.snapshot()
		disk := &stuck{FS: a.fs}
		disk.fails.Store(true)
		config := a.Outgoing.config
		config.FS = disk
		o, err := NewOutgoing(config, a, a, a.Outgoing.network, a, a)
		if err != nil {
			t.Fatalf("the node does not start: %v", err)
		}
		a.Outgoing = o
		disk.fails.Store(false)
		a.Outgoing.Tidy()
		if a.settle(); a.made() {
			t.Error("still there, for nobody")
		}
	})
}
