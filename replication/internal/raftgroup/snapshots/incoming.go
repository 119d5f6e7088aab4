package snapshots

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport"
)

// incomingPrefix begins the names of directories in Config.Dir that hold what was received; the rest is the
// checkpoint's ID.
const incomingPrefix = "receive-"

// Incoming receives checkpoints, one at a time: from the first message until it is installed or refused by raft (P4).
// What a broken transfer left is taken up again if the same checkpoint is offered.
//
// The only place is claimed by a stream. When that fails it gives the place back; when it succeeds the place is the
// snapshot's, and stays taken until Remove or Discard of its ID. Hence raft's side must end with one of the two for
// every snapshot it was told of, whether it was taken or not. A stream fails when its sender is silent for too long,
// and when another one offers a checkpoint in the same term or a later one: there is one leader in a term, which has
// given up the stream before, and raft would take nothing of a term that is over.
type Incoming struct {
	config  Config
	network Network
	inbox   Inbox
	life    peers.Lifetime

	memory checkpoint.Memory // of whoever has the place
	left   bool              // of the same: what was to be cleared could not be

	mu      sync.Mutex
	claimed bool
	id      string            // of the one that raft was told of; empty while it is still received
	term    uint64            // in which it was offered
	end     func(cause error) // ends receiving it
	quiet   int               // how often in a row Tidy found the place free
	enough  uint64            // who has applied so much needs nothing of what was received
}

// NewIncoming returns a receiver with its place free. What a former life left stays until the next offer, which may be
// of the same checkpoint, or until Tidy finds that nobody needs it: of what entry it is nobody knows, but once this
// node has more than what it has applied now, the log leads on.
func NewIncoming(c Config, network Network, inbox Inbox, life peers.Lifetime, applied uint64) *Incoming {
	return &Incoming{config: c, network: network, inbox: inbox, life: life, enough: applied + 1}
}

// valid returns what contradicts itself. It is for tests.
func (in *Incoming) valid() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.id != "" && (!in.claimed || len(in.id) != idBytes) {
		return fmt.Errorf("incoming: claimed: %t, by checkpoint %x", in.claimed, in.id)
	}
	return nil
}

func name(id []byte) string { return incomingPrefix + hex.EncodeToString(id) }

// Dir returns where the checkpoint of an ID is, once raft was told of it.
func (in *Incoming) Dir(id []byte) string { return filepath.Join(in.config.Dir, name(id)) }

// Serve is the handler of Service, by which a leader sends a checkpoint; ErrBusy while another is received or waits to
// be installed. The place is for who has said who he is and what he offers.
func (in *Incoming) Serve(ctx context.Context, s transport.Stream) error {
	return in.serve(ctx, s, true)
}

// ServeElder is the handler of ServiceElder.
func (in *Incoming) ServeElder(ctx context.Context, s transport.Stream) error {
	return in.serve(ctx, s, false)
}

// serve returns when the transfer is over, or the stream has to end: whoever claimed the place has it until his disk
// lets go of him.
func (in *Incoming) serve(ctx context.Context, s transport.Stream, works bool) error {
	group := in.life.Context()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ended := make(chan error, 1)
	if !in.life.Spawn(func() {
		o, err := in.greet(s)
		if err == nil {
			err = in.claim(o.term, o.snapshot.GetMetadata().GetIndex(), end)
		}
		if err == nil {
			o.line = checkpoint.Line{Stream: s, Clock: in.config.Clock, Works: works, Elder: checkpoint.Silence}
			if err = in.receive(ctx, o); err != nil {
				in.release()
			}
		}
		ended <- err
	}) {
		return context.Cause(group)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-group.Done():
		return context.Cause(group)
	}
}

// claim takes the only place, for the state as of an entry, or has whoever has it end if nothing can come of that any
// more: then the sender finds the place free when it tries again.
func (in *Incoming) claim(term, index uint64, end func(cause error)) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.claimed {
		in.claimed, in.term, in.end = true, term, end
		in.quiet, in.enough = 0, index
		return nil
	}
	if in.id == "" && term >= in.term {
		in.end(errOvertaken)
	}
	return ErrBusy
}

func (in *Incoming) release() {
	in.mu.Lock()
	in.claimed, in.id, in.end = false, "", nil
	in.mu.Unlock()
}

// offer is a checkpoint that a member wants to send.
type offer struct {
	hello    peers.Hello
	term     uint64
	snapshot *raftpb.Snapshot
	bytes    int // of the message
	line     checkpoint.Line
}

// greet reads who sends what.
func (in *Incoming) greet(s transport.Stream) (o offer, err error) {
	if o.hello, err = in.network.Greet(s); err != nil {
		return o, err
	}
	p, err := s.Recv()
	if err != nil {
		return o, err
	}
	o.bytes = len(p)
	o.term, o.snapshot, err = decodeOffer(p)
	return o, err
}

// receive stages a checkpoint and, once it is verified and durable, lets raft know of it (P3).
func (in *Incoming) receive(ctx context.Context, o offer) error {
	id := o.snapshot.GetData()
	if err := in.removeOthers(id); err != nil {
		return err
	}
	terms := checkpoint.Terms{Look: in.config.Look}
	m, err := checkpoint.ReceiveOn(ctx, o.line, in.config.FS, in.Dir(id), &in.memory, terms, nil)
	if err != nil {
		return err
	}
	if string(m.ID[:]) != string(id) {
		return fmt.Errorf("%w: checkpoint %x, offered was %x", peers.ErrFormat, m.ID, id)
	}
	if err := in.inspect(o.snapshot); err != nil {
		in.config.Logger.Error("checkpoint refused", "peer", in.network.Name(o.hello.From), "err", err)
		return errors.Join(err, checkpoint.Remove(in.config.FS, in.Dir(id)))
	}
	index := o.snapshot.GetMetadata().GetIndex()
	in.config.Logger.Info("checkpoint received", "peer", in.network.Name(o.hello.From), "index", index,
		"bytes", m.Bytes())
	in.mu.Lock()
	in.id = string(id) // before raft knows of it: it may discard it at once
	in.mu.Unlock()
	message := &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(o.hello.From), To: new(o.hello.To), Term: new(o.term),
		Snapshot: o.snapshot,
	}
	if !in.inbox.Receive([]*raftpb.Message{message}, o.bytes) {
		return context.Cause(in.life.Context())
	}
	return nil
}

// inspect returns an error if the checkpoint is not what was offered (P1): once raft takes it, that would stop this
// node.
func (in *Incoming) inspect(s *raftpb.Snapshot) error {
	want := s.GetMetadata()
	index, term, conf, err := in.config.Inspect(in.Dir(s.GetData()))
	if err != nil {
		return fmt.Errorf("%w: the checkpoint offered at entry %d: %w", peers.ErrFormat, want.GetIndex(), err)
	}
	if index != want.GetIndex() || term != want.GetTerm() {
		return fmt.Errorf("%w: the checkpoint holds entry %d of term %d, offered was %d of %d",
			peers.ErrFormat, index, term, want.GetIndex(), want.GetTerm())
	}
	err = raftpb.EnsureConfState(conf).Equivalent(raftpb.EnsureConfState(want.GetConfState()))
	if err != nil {
		return fmt.Errorf("%w: the checkpoint has other members than were offered: %w", peers.ErrFormat, err)
	}
	return nil
}

// removeOthers deletes what is left of other checkpoints. One of them takes the place of this one, if that has none
// yet: what both have need not be sent again.
func (in *Incoming) removeOthers(id []byte) error {
	fs, dir := in.config.FS, in.config.Dir
	names, err := in.names()
	if err != nil {
		return err
	}
	has := slices.Contains(names, name(id))
	for _, other := range names {
		if other == name(id) {
			continue
		}
		if !has && fs.Rename(filepath.Join(dir, other), in.Dir(id)) == nil {
			has = true
			continue
		}
		if err := fs.RemoveAll(filepath.Join(dir, other)); err != nil {
			return fmt.Errorf("raftgroup: removing %s: %w", other, err)
		}
	}
	return nil
}

// names returns what there is of checkpoints that were received, whole or in part.
func (in *Incoming) names() ([]string, error) {
	names, err := in.config.FS.List(in.config.Dir)
	if err != nil {
		return nil, fmt.Errorf("raftgroup: staging directory: %w", err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, incomingPrefix) }), nil
}

// Remove deletes a checkpoint that was installed, or that raft had no use for, and makes room for another. What cannot
// be deleted now is left to Tidy.
func (in *Incoming) Remove(id []byte) {
	in.mu.Lock()
	ours := in.claimed && in.id == string(id)
	in.mu.Unlock()
	if err := checkpoint.Remove(in.config.FS, in.Dir(id)); err != nil {
		in.config.Logger.Warn("checkpoint not removed", "err", err)
	}
	if ours {
		in.release()
	}
}

// Discard is Remove for whoever must not wait for a disk. Once the group ends it is left to Tidy of the next life.
func (in *Incoming) Discard(id []byte) { in.life.Spawn(func() { in.Remove(id) }) }
