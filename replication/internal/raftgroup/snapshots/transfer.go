package snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Send starts to send the checkpoint that m, a message of raft, speaks of. How it fared is reported later; at once if
// the checkpoint is gone, or was made before its receiver became a member, which would refuse it.
func (o *Outgoing) Send(m *raftpb.Message) {
	s := o.claim(m)
	if s == nil {
		o.raft.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
	} else if !o.life.Spawn(func() { o.transfer(s, m) }) {
		o.release(s, errUseless)
		o.raft.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
	}
}

// Retain ends the transfers to those who are not in conf: nothing comes of them any more, and what is sent is kept for
// nobody. It is nil where this node leads no more.
func (o *Outgoing) Retain(conf *raftpb.ConfState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range o.sending {
		if !peers.IsMember(conf, s.to) {
			s.end(errUseless)
		}
	}
}

// claim makes the transfer of m a user of the checkpoint it speaks of; nil if that is of no use.
func (o *Outgoing) claim(m *raftpb.Message) *sending {
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
	s := &sending{held: h, to: m.GetTo()}
	s.ctx, s.end = context.WithCancelCause(o.life.Context())
	o.sending[s] = true
	return s
}

// release ends a transfer's use.
func (o *Outgoing) release(s *sending, err error) {
	s.end(nil) // and the stream
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sending, s)
	s.held.users--
	if err != nil {
		o.pause = pauseElections * o.config.ElectionTicks
	}
}

func (o *Outgoing) transfer(s *sending, m *raftpb.Message) {
	err := o.stream(s, m)
	if errors.Is(err, checkpoint.ErrDoubted) {
		o.doubt(s.held)
	}
	o.release(s, err)
	if err != nil {
		o.config.Logger.Warn("checkpoint not sent", "peer", o.network.Name(s.to), "err", err)
		o.raft.ReportSnapshot(s.to, raft.SnapshotFailure)
		return
	}
	o.config.Logger.Info("checkpoint sent", "peer", o.network.Name(s.to), "index", s.held.index(), "bytes",
		s.held.manifest.Bytes())
	o.raft.ReportSnapshot(s.to, raft.SnapshotFinish)
}

// doubt has a checkpoint given to nobody any more, since something else arrived than was summed: what is read for the
// next one shows whether a disk changed the state here.
func (o *Outgoing) doubt(h *held) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h.gone, h.stale = true, true
}

// stream sends everything and returns once the peer has told its raft of the snapshot (P3). A member that hangs is
// given up, so that the log behind the checkpoint is not kept for it (P2).
func (o *Outgoing) stream(s *sending, m *raftpb.Message) error {
	offer, err := encodeOffer(m.GetTerm(), s.held.snapshot)
	if err != nil {
		return err
	}
	err = o.converse(s, Service, offer)
	if errors.Is(err, transport.ErrNoService) {
		err = o.converse(s, ServiceElder, offer)
	}
	return err
}

// converse is the course of one stream.
func (o *Outgoing) converse(s *sending, service string, offer []byte) error {
	ctx, cancel := context.WithCancel(s.ctx) // ends the stream
	defer cancel()
	stream, err := o.network.Open(ctx, s.to, service)
	if err != nil {
		return err
	}
	l := checkpoint.Line{Stream: stream, Clock: o.config.Clock, Works: service == Service}
	if err := l.Send(ctx, bytes.Clone(offer)); err != nil {
		return err
	}
	l.Stream = &fit{stream, o, s}
	if err := checkpoint.Send(ctx, l, o.config.FS, o.dir, s.held.manifest); err != nil {
		return err
	}
	if err := l.End(ctx); err != nil {
		return fmt.Errorf("the peer has the checkpoint and did not take it: %w", err)
	}
	return nil
}

// fit is a stream by which a member takes a checkpoint. It ends once that is known to be of a wrong state.
type fit struct {
	transport.Stream
	outgoing *Outgoing
	sending  *sending
}

// Send implements transport.Stream.
func (f *fit) Send(m []byte) error {
	if f.outgoing.unfit() {
		f.sending.end(errUnfit) // so that nobody waits for a word of the member
		return errUnfit
	}
	return f.Stream.Send(m)
}
