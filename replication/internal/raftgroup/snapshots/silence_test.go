package snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// offers begins a transfer to member 2 in a term, as a leader whose disk hangs then.
func offers(t *testing.T, net *memory.Network, service string, from, term uint64) transport.Stream {
	t.Helper()
	offer, err := encodeOffer(term, sampleSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	m := &checkpoint.Manifest{ID: [16]byte(sampleSnapshot().GetData())}
	m.Files = append(m.Files, checkpoint.File{Name: "state", Bytes: 7})
	manifest, err := m.AppendBinary([]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := net.Node(fmt.Sprint("hangs ", term)).Open(t.Context(), "2", service)
	for _, p := range [][]byte{peers.Hello{Group: "test", From: from, To: 2}.Encode(), offer, manifest} {
		if err == nil {
			err = s.Send(p)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	return s
}

// P4: the only place is not held by a leader that hangs: the next one has it as soon as it tries again.
func TestTheNextLeaderFindsThePlaceFree(t *testing.T) {
	for _, service := range []string{Service, ServiceElder} {
		inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
			offers(t, net, service, 3, 4)
			s := a.snapshot()
			if status := a.send(2, s); status != raft.SnapshotFailure { // in term 5
				t.Error("two are received at once")
			}
			a.tick(electionTicks)
			if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish || len(b.received) != 1 {
				t.Error("the place is held by a leader that hangs")
			}
		})
	}
}

// The only place is held by nobody who hangs for longer than any does that works: what a leader of before sends is
// made before it is offered.
func TestThePlaceIsNotHeldByWhoHangs(t *testing.T) {
	for _, service := range []string{Service, ServiceElder} {
		inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
			offer, err := encodeOffer(6, sampleSnapshot())
			s, opened := net.Node("hangs").Open(t.Context(), "2", service)
			if err = errors.Join(err, opened); err != nil {
				t.Fatal(err)
			}
			err = errors.Join(s.Send(peers.Hello{Group: "test", From: 3, To: 2}.Encode()), s.Send(offer))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(checkpoint.Silence + time.Second)
			if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish || len(b.received) != 1 {
				t.Errorf("%s: the place is held by a sender that hangs", service)
			}
		})
	}
}

// A leader of a term that is over takes the place from nobody.
func TestALeaderOfBeforeTakesThePlaceFromNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		offers(t, net, Service, 3, 6)
		for range 3 {
			if status := a.send(2, a.snapshot()); status != raft.SnapshotFailure { // in term 5
				t.Error("the place was taken from a later leader")
			}
			a.tick(electionTicks)
		}
		time.Sleep(checkpoint.Silence)
		if status := a.send(2, a.snapshot()); status != raft.SnapshotFinish || len(b.received) != 1 {
			t.Error("the place is held by a sender that hangs for longer than any does that works")
		}
	})
}

// hanging is a member that takes streams, reads of each what the flow of it allows, and never answers.
func hanging(t *testing.T, net *memory.Network, id uint64, service string) {
	t.Helper()
	tr := net.Node(fmt.Sprint(id))
	err := tr.Serve(map[string]transport.Handler{service: func(ctx context.Context, s transport.Stream) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
}

// without returns the members without one.
func (n *node) without(id uint64) *raftpb.ConfState {
	n.mu.Lock()
	defer n.mu.Unlock()
	conf := &raftpb.ConfState{}
	for _, v := range n.members.GetVoters() {
		if v != id {
			conf.Voters = append(conf.Voters, v)
		}
	}
	return conf
}

// P2: the log is not kept for a member that hangs while it takes a checkpoint, nor for one that was removed, nor by a
// leader of before.
func TestTheLogIsNotKeptForAMemberThatHangs(t *testing.T) {
	for name, c := range map[string]struct {
		service string
		ends    func(a *node)
		after   time.Duration
	}{
		"silent":                      {Service, func(*node) {}, checkpoint.Silence},
		"silent, of a version before": {ServiceElder, func(*node) {}, checkpoint.ElderSilence},
		"removed":                     {Service, func(a *node) { a.Retain(a.without(3)) }, 0},
		"led no more":                 {Service, func(a *node) { a.Retain(nil) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, net *memory.Network, a, _ *node) {
				hanging(t, net, 3, c.service)
				a.Send(&raftpb.Message{Type: raftpb.MsgSnap.Enum(), To: new(uint64(3)), Snapshot: a.snapshot()})
				a.settle()
				a.Retain(&raftpb.ConfState{Voters: []uint64{1}, Learners: []uint64{3}})
				time.Sleep(c.after - 2*time.Second)
				a.tick(idleElections*electionTicks + 1)
				if a.pinned() == 0 {
					t.Fatal("the log is not kept for who may be taking it")
				}
				c.ends(a)
				a.settle()
				a.settle()
				a.tick(idleElections*electionTicks + 1)
				if a.pinned() != 0 {
					t.Error("the log is kept for nobody")
				}
				if len(a.reports) != 1 || a.reports[0] != raft.SnapshotFailure {
					t.Errorf("raft was told %v", a.reports)
				}
			})
		})
	}
}

// Members of this version and of the one before give each other checkpoints.
func TestTheVersionBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		old := newNode(t, net, elder)
		if status := a.send(elder, a.snapshot()); status != raft.SnapshotFinish || len(old.received) != 1 {
			t.Error("not sent to a member of the version before")
		}
		s := old.snapshot() // who sends as the version before does
		h := old.Outgoing.claim(&raftpb.Message{To: new(uint64(2)), Snapshot: s})
		offer, err := encodeOffer(5, s)
		if err == nil {
			err = old.converse(h, ServiceElder, bytes.Clone(offer))
		}
		old.Outgoing.release(h, err)
		if err != nil || len(b.received) != 1 {
			t.Errorf("not taken from a member of the version before: %v", err)
		}
	})
}

// The sum of a large checkpoint is not waited for by the end of the group.
func TestTheEndIsHeardWhileACheckpointIsSummed(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		a.end()
		if _, err := a.checkpoint(); !errors.Is(err, errEnd) {
			t.Errorf("made, after the end: %v", err)
		}
	})
}
