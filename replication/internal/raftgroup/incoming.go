package raftgroup

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport"
)

// incomingPrefix begins the names of directories in StagingDir that hold what was received; the rest is the checkpoint's ID.
const incomingPrefix = "receive-"

// incoming receives checkpoints, one at a time: from the first message until it is installed or refused by raft. What a broken
// transfer left is taken up again if the same checkpoint is offered.
type incoming struct {
	g *Group

	mu   sync.Mutex
	busy bool
	id   string // of the one that raft was told of
}

func newIncoming(g *Group) (*incoming, error) { return &incoming{g: g}, nil }

func (in *incoming) name(id []byte) string { return incomingPrefix + hex.EncodeToString(id) }

func (in *incoming) dir(id []byte) string {
	return filepath.Join(in.g.config.StagingDir, in.name(id))
}

// serve is the service by which a leader sends a checkpoint.
func (in *incoming) serve(ctx context.Context, s transport.Stream) error {
	if !in.enter() {
		return fmt.Errorf("%w: another checkpoint is being received", ErrBusy)
	}
	ended := make(chan error, 1)
	if !in.g.spawn(func() {
		err := in.receive(ctx, s)
		if err != nil {
			in.leave()
		}
		ended <- err
	}) {
		return in.g.stopped()
	}
	select {
	case err := <-ended:
		return err
	case <-in.g.context.Done():
		return in.g.stopped()
	}
}

// enter claims the only place.
func (in *incoming) enter() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.busy {
		return false
	}
	in.busy = true
	return true
}

func (in *incoming) leave() {
	in.mu.Lock()
	in.busy, in.id = false, ""
	in.mu.Unlock()
}

// receive stages a checkpoint and, once it is verified and durable, lets raft know of it.
func (in *incoming) receive(ctx context.Context, s transport.Stream) error {
	h, err := in.g.greet(s)
	if err != nil {
		return err
	}
	p, err := s.Recv()
	if err != nil {
		return err
	}
	term, snapshot, err := decodeOffer(p)
	if err != nil {
		return err
	}
	if err := in.removeOthers(snapshot.GetData()); err != nil {
		return err
	}
	m, err := checkpoint.Receive(ctx, s, in.g.config.FS, in.dir(snapshot.GetData()), nil)
	if err != nil {
		return err
	}
	if string(m.ID[:]) != string(snapshot.GetData()) {
		return fmt.Errorf("%w: checkpoint %x, offered was %x", ErrFormat, m.ID, snapshot.GetData())
	}
	in.g.log.Info("checkpoint received", "peer", h.from, "index", snapshot.GetMetadata().GetIndex(), "bytes", m.Bytes())
	in.mu.Lock()
	in.id = string(snapshot.GetData())
	in.mu.Unlock()
	message := &raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: new(h.from), To: new(h.to), Term: new(term), Snapshot: snapshot}
	if !in.g.mail.receive([]*raftpb.Message{message}, len(p)) {
		return in.g.stopped()
	}
	return nil
}

// removeOthers deletes what is left of other checkpoints.
func (in *incoming) removeOthers(id []byte) error {
	c := &in.g.config
	names, err := c.FS.List(c.StagingDir)
	if err != nil {
		return fmt.Errorf("raftgroup: staging directory: %w", err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, incomingPrefix) || name == in.name(id) {
			continue
		}
		if err := c.FS.RemoveAll(filepath.Join(c.StagingDir, name)); err != nil {
			return fmt.Errorf("raftgroup: removing %s: %w", name, err)
		}
	}
	return nil
}

// release removes a checkpoint that was installed, or that raft had no use for, and makes room for another.
func (in *incoming) release(id []byte) {
	in.mu.Lock()
	ours := in.busy && in.id == string(id)
	in.mu.Unlock()
	if err := checkpoint.Remove(in.g.config.FS, in.dir(id)); err != nil {
		in.g.log.Warn("checkpoint not removed", "error", err)
	}
	if ours {
		in.leave()
	}
}

// dropUnusedSnapshots lets go of checkpoints that raft was told of in this turn and did not take: it had better ones.
func (l *loop) dropUnusedSnapshots() {
	for _, s := range l.offered {
		if string(s.GetData()) != string(l.installing) {
			l.g.spawn(func() { l.g.incoming.release(s.GetData()) })
		}
	}
	l.offered, l.installing = emptied(l.offered), nil
}
