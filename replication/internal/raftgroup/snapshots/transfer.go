package snapshots

import (
	"context"
	"fmt"
	"io"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Send starts to send the checkpoint that m, a message of raft, speaks of. How it fared is reported later; at once if
// the checkpoint is gone, or was made before its receiver became a member, which would refuse it.
func (o *Outgoing) Send(m *raftpb.Message) {
	h := o.claim(m)
	if h == nil || !o.life.Spawn(func() { o.transfer(h, m) }) {
		o.raft.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
	}
}

// claim makes the transfer of m a user of the checkpoint it speaks of; nil if that is of no use.
func (o *Outgoing) claim(m *raftpb.Message) *held {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.held
	if h == nil || h.gone || string(h.snapshot.GetData()) != string(m.GetSnapshot().GetData()) {
		return nil
	}
	if !peers.IsMember(h.snapshot.GetMetadata().GetConfState(), m.GetTo()) {
		h.stale = true // the next time raft asks, another is made
		return nil
	}
	h.users++
	h.idle = 0
	return h
}

// release ends a transfer's use.
func (o *Outgoing) release(h *held, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h.users--
	if err != nil {
		o.pause = pauseElections * o.config.ElectionTicks
	}
}

func (o *Outgoing) transfer(h *held, m *raftpb.Message) {
	ctx, cancel := context.WithCancel(o.life.Context()) // ends the stream
	defer cancel()
	err := o.stream(ctx, h, m)
	o.release(h, err)
	if err != nil {
		o.config.Logger.Warn("checkpoint not sent", "peer", o.network.Name(m.GetTo()), "err", err)
		o.raft.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
		return
	}
	o.config.Logger.Info("checkpoint sent", "peer", o.network.Name(m.GetTo()), "index", h.index(), "bytes",
		h.manifest.Bytes())
	o.raft.ReportSnapshot(m.GetTo(), raft.SnapshotFinish)
}

// stream sends everything and returns once the peer has told its raft of the snapshot (P3).
func (o *Outgoing) stream(ctx context.Context, h *held, m *raftpb.Message) error {
	offer, err := encodeOffer(m.GetTerm(), h.snapshot)
	if err != nil {
		return err
	}
	s, err := o.network.Open(ctx, m.GetTo(), Service)
	if err != nil {
		return err
	}
	if err := s.Send(offer); err != nil {
		return err
	}
	if err := checkpoint.Send(ctx, &fit{s, o, h}, o.config.FS, o.dir, h.manifest); err != nil {
		return err
	}
	if _, err := s.Recv(); err != io.EOF {
		return fmt.Errorf("the peer has the checkpoint and did not take it: %w", err)
	}
	return nil
}

// fit is a stream by which a member takes a checkpoint. It ends once no more of that is given.
type fit struct {
	transport.Stream
	outgoing *Outgoing
	held     *held
}

// Send implements transport.Stream.
func (f *fit) Send(m []byte) error {
	if err := f.outgoing.gives(f.held); err != nil {
		return err
	}
	return f.Stream.Send(m)
}
