package snapshots

import (
	"context"
	"errors"
	"log/slog"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Config is what both directions need. Every field is required, unless it says that it is not.
type Config struct {
	// FS and Dir are where checkpoints stay while they are sent and received. The directory belongs to this package.
	FS  durable.FS
	Dir string
	// Clock tells how long a transfer stands still.
	Clock clock.Clock
	// ElectionTicks is an election timeout in ticks; how long things are kept and put off is counted in it.
	ElectionTicks int
	// Inspect returns what the checkpoint in dir holds: its last entry, and the members as of it; an error if it is
	// none that could be installed. Called from any goroutine.
	Inspect func(dir string) (index, term uint64, conf *raftpb.ConfState, err error)
	// Unfit reports whether the state here is one of which no checkpoint is given away. May be nil: it never is.
	Unfit func() bool
	// Look tells whether the files of a checkpoint are what was written. Zero: nobody can.
	Look Look
	// Damaged is told, once a checkpoint is made, that the state here is not what was written. May be nil.
	Damaged func(error)
	Logger  *slog.Logger
}

// Look is checkpoint.Look, for who makes the group.
type Look = checkpoint.Look

// State is the applied state, of which checkpoints are made.
type State interface {
	// Applied returns the last entry that the state contains.
	Applied() uint64
	// Checkpoint makes the new directory dir hold a copy of the state, between two entries, and returns the last entry
	// that it contains and the members as of it. It blocks until that is done or ctx ends.
	Checkpoint(ctx context.Context, dir string) (*raftpb.SnapshotMetadata, error)
}

// Log is what has to be kept for the receiver of a checkpoint. Its methods may be called from any goroutine.
type Log interface {
	// FirstIndex returns the first entry that the log holds.
	FirstIndex() uint64
	// Pin keeps entries from index on until Unpin of the same name; a further Pin of that name replaces it.
	Pin(name string, index uint64)
	Unpin(name string)
}

// Raft is told how a snapshot fared. It never blocks.
type Raft interface {
	ReportSnapshot(to uint64, status raft.SnapshotStatus)
}

// Inbox is how raft is told of a snapshot that arrived: as of any message of a peer.
type Inbox interface {
	Receive(messages []*raftpb.Message, bytes int) bool
}

// Network opens streams to members, tells who is at the other end of one, and what members are called in a log.
type Network interface {
	Open(ctx context.Context, to uint64, service string) (transport.Stream, error)
	Greet(s transport.Stream) (peers.Hello, error)
	Name(id uint64) string
}

// ErrBusy says that another checkpoint is being received. Its sender tries again.
var ErrBusy = errors.New("raftgroup: another checkpoint is being received")

// Why a transfer ends before it is through.
var (
	errOvertaken = errors.New("raftgroup: a later offer of a checkpoint came")
	errUseless   = errors.New("raftgroup: the receiver is no member any more, or this node leads no more")
)
