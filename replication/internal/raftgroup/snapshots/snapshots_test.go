package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

const electionTicks = 10

// elder is the member that is of the version before.
const elder = 4

// errEnd is why the groups of these tests end.
var errEnd = errors.New("the test is over")

// node is one member with nothing but its two directions. What surrounds them is the node itself.
type node struct {
	t *testing.T
	*Outgoing
	*Incoming
	fs      durable.FS
	ctx     context.Context
	end     func()
	running sync.WaitGroup

	mu       sync.Mutex
	first    uint64            // of the log
	pins     map[string]uint64 // of the log
	applied  uint64
	broken   error // of the state
	members  *raftpb.ConfState
	received []*raftpb.Message
	reports  []raft.SnapshotStatus
	unfit    atomic.Bool
	copied   func() // is called when the state was copied, may be nil
}

func newNode(t *testing.T, net *memory.Network, id uint64) *node {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	n := &node{
		t: t, fs: pebblefs.New(vfs.NewMem()), ctx: ctx, end: func() { cancel(errEnd) },
		first: 2, pins: map[string]uint64{}, applied: 7, members: &raftpb.ConfState{Voters: []uint64{1, 2, 3, elder}},
	}
	tr := net.Node(fmt.Sprint(id))
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	network := peers.New(peers.Config{
		Group: "test", ID: id, Transport: tr, Clock: clock.Real, TickInterval: 10 * time.Millisecond, Logger: quiet,
		Directory: everybody{}, MaxInflightBytes: 1 << 20,
	}, n, n)
	config := Config{
		FS: n.fs, Dir: "staging", Clock: clock.Real, ElectionTicks: electionTicks, Inspect: n.inspect,
		Unfit: n.unfit.Load, Logger: quiet,
	}
	var err error
	if n.Outgoing, err = NewOutgoing(config, n, n, network, n, n); err != nil {
		t.Fatal(err)
	}
	n.Incoming = NewIncoming(config, network, n, n, n.applied)
	services := map[string]transport.Handler{ServiceElder: n.ServeElder}
	if id != elder {
		services[Service] = n.Serve
	}
	if err := tr.Serve(services); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.end()
		tr.Close()
		n.running.Wait()
	})
	return n
}

func (n *node) Context() context.Context { return n.ctx }
func (n *node) Spawn(f func()) bool {
	if n.ctx.Err() != nil {
		return false
	}
	n.running.Go(f)
	return true
}

func (n *node) ReportUnreachable(uint64) {}
func (n *node) Receive(messages []*raftpb.Message, _ int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.received = append(n.received, messages...)
	return true
}

func (n *node) ReportSnapshot(_ uint64, status raft.SnapshotStatus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reports = append(n.reports, status)
}

func (n *node) FirstIndex() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.first
}

func (n *node) Pin(name string, index uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pins[name] = index
}

func (n *node) Unpin(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pins, name)
}

func (n *node) Applied() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.applied
}

// Checkpoint writes two files, which say what was applied and who the members are.
func (n *node) Checkpoint(_ context.Context, dir string) (*raftpb.SnapshotMetadata, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fs.MkdirAll(dir); err != nil || n.broken != nil {
		return nil, errors.Join(err, n.broken)
	}
	meta := &raftpb.SnapshotMetadata{Index: new(n.applied), Term: new(uint64(2)), ConfState: n.members}
	encoded, err := proto.Marshal(n.members)
	for name, content := range map[string][]byte{"state": fmt.Append(nil, n.applied), "members": encoded} {
		err = errors.Join(err, durable.WriteFile(n.fs, filepath.Join(dir, name), func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		}))
	}
	if n.copied != nil {
		n.copied()
	}
	return meta, err
}

// inspect reads what Checkpoint has written; the members are told by hand.
func (n *node) inspect(dir string) (index, term uint64, conf *raftpb.ConfState, err error) {
	p, err := durable.ReadFile(n.fs, filepath.Join(dir, "state"))
	if err == nil {
		_, err = fmt.Sscan(string(p), &index)
	}
	encoded, unread := durable.ReadFile(n.fs, filepath.Join(dir, "members"))
	conf = new(raftpb.ConfState)
	return index, 2, conf, errors.Join(err, unread, proto.Unmarshal(encoded, conf))
}

// set changes what surrounds the directions.
func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// settle lets everything that was begun come to its end, and checks what must hold then.
func (n *node) settle() {
	n.t.Helper()
	time.Sleep(time.Second)
	if err := errors.Join(n.Outgoing.valid(), n.Incoming.valid()); err != nil {
		n.t.Error(err)
	}
}

// tick lets so many ticks pass.
func (n *node) tick(count int) {
	n.t.Helper()
	for range count {
		n.Tick()
		if err := n.Outgoing.valid(); err != nil {
			n.t.Fatal(err)
		}
	}
}

// snapshot asks as raft does, twice, and returns what it got in the end.
func (n *node) snapshot() *raftpb.Snapshot {
	n.t.Helper()
	if s, err := n.Snapshot(); err == nil {
		return s
	} else if !errors.Is(err, raft.ErrSnapshotTemporarilyUnavailable) {
		n.t.Fatal(err)
	}
	n.settle()
	s, err := n.Snapshot()
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// send sends s to a member and returns what raft was told of it.
func (n *node) send(to uint64, s *raftpb.Snapshot) raft.SnapshotStatus {
	n.t.Helper()
	before := len(n.reports)
	n.Send(&raftpb.Message{Type: raftpb.MsgSnap.Enum(), To: new(to), Term: new(uint64(5)), Snapshot: s})
	n.settle()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.reports) != before+1 {
		n.t.Fatalf("raft was told %v", n.reports[before:])
	}
	return n.reports[before]
}

func (n *node) pinned() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pins[pinName]
}

// state returns what the checkpoint of s, received here, holds.
func (n *node) state(s *raftpb.Snapshot) string {
	p, err := durable.ReadFile(n.fs, filepath.Join(n.Dir(s.GetData()), "state"))
	if err != nil {
		return err.Error()
	}
	return string(p)
}

// inBubble runs f with two members, 1 and 2.
func inBubble(t *testing.T, f func(t *testing.T, net *memory.Network, a, b *node)) {
	virtual.Test(t, func(t *testing.T) {
		net := memory.NewNetwork(clock.Real, 1)
		f(t, net, newNode(t, net, 1), newNode(t, net, 2))
	})
}

// P1 to P4: what raft says is what the files hold, the log after them is kept, they arrive whole, and go when they were
// installed.
func TestStateReachesAMember(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		s := a.snapshot()
		if s.GetMetadata().GetIndex() != 7 || a.pinned() != 8 {
			t.Errorf("snapshot %v, log kept from %d", s, a.pinned())
		}
		if again := a.snapshot(); again != s {
			t.Errorf("asked again: %v", again)
		}
		if status := a.send(2, s); status != raft.SnapshotFinish {
			t.Error("not delivered")
		}
		m := b.received[0]
		if m.GetType() != raftpb.MsgSnap || m.GetFrom() != 1 || m.GetTo() != 2 || m.GetTerm() != 5 {
			t.Errorf("arrived %v", m)
		}
		if got := b.state(m.GetSnapshot()); got != "7" {
			t.Errorf("arrived with %q", got)
		}
		if status := a.send(2, s); status != raft.SnapshotFailure || len(b.received) != 1 {
			t.Error("delivered again while the first waits to be installed")
		}
		b.Discard(s.GetData())
		b.settle()
		if got := b.state(s); got == "7" {
			t.Error("still there")
		}
		a.tick(electionTicks)
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish {
			t.Error("not delivered to a free place")
		}
	})
}

// P2: the log is kept as long as somebody may need what comes after the checkpoint, and no longer.
func TestIdleCheckpointGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		s := a.snapshot()
		a.tick(idleElections * electionTicks)
		a.send(2, s)
		a.tick(idleElections * electionTicks)
		if a.pinned() == 0 {
			t.Error("gone too early")
		}
		a.tick(1)
		if a.pinned() != 0 {
			t.Error("the log is kept for nobody")
		}
		if a.settle(); a.made() {
			t.Error("it takes room for nobody")
		}
		if status := a.send(2, s); status != raft.SnapshotFailure {
			t.Error("sent what is gone")
		}
	})
}

// P5: a state that cannot be copied is asked again after a pause.
func TestFailureToMakeOne(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		a.set(func() { a.broken = errors.New("no space left") })
		for range 2 {
			if _, err := a.Snapshot(); !errors.Is(err, raft.ErrSnapshotTemporarilyUnavailable) {
				t.Error(err)
			}
			a.settle()
		}
		if a.pinned() != 0 || a.made() {
			t.Error("the log is kept for nothing, or a part takes room")
		}
		a.set(func() { a.broken = nil })
		if _, err := a.Snapshot(); err == nil || a.pinned() != 0 {
			t.Errorf("made one during the pause: %v", err)
		}
		a.tick(electionTicks)
		a.snapshot()
	})
}

// One that the log has left behind is of no use: who installs it could not go on.
func TestCheckpointTheLogLeftBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		old := a.snapshot()
		a.set(func() { a.first, a.applied = 9, 20 })
		if s := a.snapshot(); s.GetMetadata().GetIndex() != 20 || string(s.GetData()) == string(old.GetData()) {
			t.Errorf("offers %v", s)
		}
	})
}

// One made before its receiver was a member would be refused, again and again.
func TestCheckpointWithoutItsReceiver(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		a.set(func() { a.members = &raftpb.ConfState{Voters: []uint64{1}} })
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFailure || len(b.received) != 0 {
			t.Error("sent to one who is not in it")
		}
		a.set(func() { a.members, a.applied = &raftpb.ConfState{Voters: []uint64{1}, Learners: []uint64{2}}, 8 })
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish {
			t.Error("not sent to one who is in it")
		}
	})
}

// P4 and P5: a transfer that breaks ends in a pause, and the next one is taken.
func TestBrokenTransfer(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		net.SetDetection(20 * time.Millisecond)
		s := a.snapshot()
		net.Cut("1", "2")
		if status := a.send(2, s); status != raft.SnapshotFailure {
			t.Error("sent over a cut link")
		}
		net.HealAll()
		b.settle()
		if _, err := a.Snapshot(); err == nil {
			t.Error("no pause after a failure")
		}
		a.tick(electionTicks)
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish || a.snapshot() != s {
			t.Error("not sent over a link that was mended")
		}
	})
}

// P4: what an earlier life left is removed, on the one side at once, on the other when something else comes.
func TestLeftoversAreRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		left := b.Dir(make([]byte, idBytes))
		for _, dir := range []string{left, filepath.Join("staging", outgoingDir)} {
			if err := b.fs.MkdirAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.remove(); err != nil {
			t.Fatal(err)
		}
		s := a.snapshot()
		a.send(2, s)
		names, err := b.fs.List("staging")
		if err != nil || len(names) != 1 || names[0] != name(s.GetData()) {
			t.Errorf("left: %v, %v", names, err)
		}
		if _, err := b.fs.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("another is left: %v", err)
		}
	})
}

// What came of another checkpoint takes the place of the one that is offered, unless that has one: see checkpoint,
// which goes on with what both have.
func TestAnotherCheckpointIsGoneOnWith(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, _, b *node) {
		one, two, three := make([]byte, idBytes), []byte("0123456789abcdef"), []byte("fedcba9876543210")
		for _, id := range [][]byte{one, three} {
			if err := b.fs.MkdirAll(filepath.Join(b.Dir(id), "part")); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := b.removeOthers(two); err != nil {
				t.Fatal(err)
			}
			names, err := b.fs.List("staging")
			if err != nil || len(names) != 1 || names[0] != name(two) {
				t.Errorf("left: %v, %v", names, err)
			}
			if names, err := b.fs.List(b.Dir(two)); err != nil || len(names) != 1 {
				t.Errorf("gone on with: %v, %v", names, err)
			}
		}
	})
}

// P3: raft hears nothing of what is not a whole checkpoint of the group, and the place is free afterwards.
func TestStrangersAreTurnedAway(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		stranger := net.Node("stranger")
		defer stranger.Close()
		hello := peers.Hello{Group: "test", From: 1, To: 2}.Encode()
		offer, err := encodeOffer(5, sampleSnapshot())
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range [][][]byte{
			{[]byte("GET / HTTP/1.1")},
			{peers.Hello{Group: "other", From: 1, To: 2}.Encode(), offer},
			{hello, hello},
			{hello, offer, []byte("no checkpoint")},
		} {
			s, err := stranger.Open(t.Context(), "2", Service)
			for _, p := range said {
				if err == nil {
					err = s.Send(p)
				}
			}
			for err == nil {
				_, err = s.Recv()
			}
			if !errors.Is(err, transport.ErrRemote) {
				t.Errorf("after %q: %v", said, err)
			}
		}
		if len(b.received) != 0 {
			t.Errorf("raft was told of %v", b.received)
		}
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish {
			t.Error("the place is still taken")
		}
	})
}

// The end of the group ends what is under way, and says why.
func TestTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		s := a.snapshot()
		net.SetDelay("", "", time.Hour, 0)
		a.Send(&raftpb.Message{Type: raftpb.MsgSnap.Enum(), To: new(uint64(2)), Snapshot: s})
		virtual.Wait()
		a.end()
		virtual.Wait()
		if len(a.reports) != 1 || a.reports[0] != raft.SnapshotFailure {
			t.Errorf("raft was told %v", a.reports)
		}
		if err := a.Serve(t.Context(), nil); !errors.Is(err, errEnd) {
			t.Errorf("served after the end: %v", err)
		}
	})
}

// everybody is a directory of members that are reached by their number.
type everybody struct{}

func (everybody) Addr(id uint64) (string, bool) { return fmt.Sprint(id), true }
func (everybody) Name(uint64) string            { return "" }

func (everybody) Failed(uint64, string) {}
func (everybody) Removed(uint64) bool   { return false }
