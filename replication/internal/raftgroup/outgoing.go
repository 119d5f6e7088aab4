package raftgroup

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
)

const (
	outgoingDir = "send"     // in StagingDir
	pinName     = "snapshot" // of the log after a checkpoint that may be sent

	// A checkpoint that nobody takes is kept for this many election timeouts, for another follower or another try.
	idleElections = 6
	// After a failure nothing is made or sent for this many election timeouts.
	pauseElections = 1
)

// outgoing makes checkpoints for followers that need more than the log holds, one at a time, and sends them.
//
// raft asks for a snapshot before it sends one, and is told to come back later until the checkpoint is there: so what raft says of
// the snapshot is what the files hold.
type outgoing struct {
	g   *Group
	dir string

	mu     sync.Mutex
	held   *heldCheckpoint
	making bool
	pause  int // ticks before the next may be made or sent
}

// heldCheckpoint is one that is complete.
type heldCheckpoint struct {
	dir      string
	manifest *checkpoint.Manifest
	snapshot *raftpb.Snapshot
	users    int // transfers under way
	idle     int // ticks without any
	stale    bool
}

type checkpointRequest struct{ dir string }

func newOutgoing(g *Group) (*outgoing, error) {
	o := &outgoing{g: g, dir: filepath.Join(g.config.StagingDir, outgoingDir)}
	if err := g.config.FS.MkdirAll(g.config.StagingDir); err != nil {
		return nil, fmt.Errorf("raftgroup: staging directory: %w", err)
	}
	return o, o.remove()
}

// remove deletes what is left of a checkpoint.
func (o *outgoing) remove() error {
	if err := o.g.config.FS.RemoveAll(o.dir); err != nil {
		return fmt.Errorf("raftgroup: removing %s: %w", o.dir, err)
	}
	return nil
}

// snapshot is raft.Storage's Snapshot, on the loop.
func (o *outgoing) snapshot() (*raftpb.Snapshot, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pause > 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	if h := o.held; h != nil {
		if !h.stale && h.snapshot.GetMetadata().GetIndex()+1 >= o.g.config.Log.FirstIndex() {
			return h.snapshot, nil
		}
		if h.users > 0 {
			return nil, raft.ErrSnapshotTemporarilyUnavailable
		}
		o.drop()
	}
	if !o.making {
		o.making = true
		o.g.config.Log.Pin(pinName, o.g.view.applied.Load()+1)
		o.g.applier.queue.push(applierTask{checkpoint: &checkpointRequest{dir: o.dir}})
	}
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

// make runs on the applier. Reading the files again to sum them is left to another goroutine.
func (r *checkpointRequest) make(g *Group) {
	o := g.outgoing
	if err := o.remove(); err != nil {
		o.made(nil, err)
		return
	}
	index, term, conf, err := g.config.Machine.Checkpoint(r.dir)
	if err != nil {
		o.made(nil, fmt.Errorf("%w: checkpoint: %w", ErrMachine, err))
		return
	}
	g.spawn(func() {
		var id [checkpointIDBytes]byte
		rand.Read(id[:])
		m, err := checkpoint.Describe(g.config.FS, r.dir, id, nil)
		if err != nil {
			o.made(nil, err)
			return
		}
		meta := &raftpb.SnapshotMetadata{Index: new(index), Term: new(term), ConfState: conf}
		o.made(&heldCheckpoint{dir: r.dir, manifest: m, snapshot: &raftpb.Snapshot{Data: id[:], Metadata: meta}}, nil)
	})
}

// made notes the outcome. A checkpoint that cannot be made, for lack of space perhaps, is no reason to stop the leader.
func (o *outgoing) made(h *heldCheckpoint, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.making, o.held = false, h
	if err != nil {
		o.g.log.Warn("no checkpoint for a follower", "error", err)
		o.g.config.Log.Unpin(pinName)
		o.pause = pauseElections * o.g.config.ElectionTicks
		return
	}
	o.g.log.Info("checkpoint made", "index", h.snapshot.GetMetadata().GetIndex(), "bytes", h.manifest.Bytes())
}

// tick lets go of a checkpoint that nobody needs any more.
func (o *outgoing) tick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pause = max(0, o.pause-1)
	if o.held == nil || o.held.users > 0 {
		return
	}
	if o.held.idle++; o.held.idle > idleElections*o.g.config.ElectionTicks {
		o.drop()
	}
}

// drop forgets the checkpoint; o.mu is held. Its directory is removed before the next is made.
func (o *outgoing) drop() {
	o.held = nil
	o.g.config.Log.Unpin(pinName)
}

// send starts to send the checkpoint that m speaks of, on the loop.
func (o *outgoing) send(m *raftpb.Message) {
	o.mu.Lock()
	h := o.held
	known := h != nil && string(h.snapshot.GetData()) == string(m.GetSnapshot().GetData())
	if known && !contains(h.snapshot.GetMetadata().GetConfState(), m.GetTo()) {
		h.stale, known = true, false // made before the peer was a member, which would refuse it
	}
	if known {
		h.users++
		h.idle = 0
	}
	o.mu.Unlock()
	if !known || !o.g.spawn(func() { o.transfer(h, m) }) {
		o.report(m.GetTo(), raft.SnapshotFailure)
	}
}

func (o *outgoing) transfer(h *heldCheckpoint, m *raftpb.Message) {
	ctx, cancel := context.WithCancel(o.g.context)
	defer cancel()
	err := o.stream(ctx, h, m)
	o.mu.Lock()
	h.users--
	if err != nil {
		o.pause = pauseElections * o.g.config.ElectionTicks
	}
	o.mu.Unlock()
	status := raft.SnapshotFinish
	if err != nil {
		status = raft.SnapshotFailure
		o.g.log.Warn("checkpoint not sent", "peer", m.GetTo(), "error", err)
	} else {
		o.g.log.Info("checkpoint sent", "peer", m.GetTo(), "index", h.snapshot.GetMetadata().GetIndex(), "bytes", h.manifest.Bytes())
	}
	o.report(m.GetTo(), status)
}

func (o *outgoing) report(to uint64, status raft.SnapshotStatus) {
	o.g.mail.call(func() { o.g.loop.node.ReportSnapshot(to, status) })
}

// stream sends everything and returns once the peer has stepped the snapshot.
func (o *outgoing) stream(ctx context.Context, h *heldCheckpoint, m *raftpb.Message) error {
	c := &o.g.config
	addr, ok := c.Address(m.GetTo())
	if !ok {
		return errNoAddress
	}
	s, err := c.Transport.Open(ctx, addr, ServiceSnapshot)
	if err != nil {
		return err
	}
	offer, err := encodeOffer(m.GetTerm(), h.snapshot)
	if err != nil {
		return err
	}
	for _, p := range [][]byte{hello{group: c.GroupID, from: c.ID, to: m.GetTo()}.encode(), offer} {
		if err := s.Send(p); err != nil {
			return err
		}
	}
	if err := checkpoint.Send(ctx, s, c.FS, h.dir, h.manifest); err != nil {
		return err
	}
	if _, err := s.Recv(); err != io.EOF {
		return fmt.Errorf("the peer has the checkpoint and did not take it: %w", err)
	}
	return nil
}
