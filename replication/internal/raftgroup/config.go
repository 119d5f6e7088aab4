package raftgroup

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/snapshots"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Peer is a member with which a group is first formed.
type Peer struct {
	ID      uint64 // never zero, never used again for another node
	Name    string
	Addr    string
	Learner bool
}

// Machine is the state that the group keeps equal on all its members. Its methods are called from the applier
// goroutine, one at a time, except where said. An error stops the node.
type Machine interface {
	// Apply applies committed entries in order; the empty ones with which a leader begins its term are among them. It
	// may keep an entry's Data, which nobody changes any more, but not the slice. What it applied need not be durable
	// on return.
	Apply(entries []*raftpb.Entry) error
	// ApplyConf applies a membership change, after raft took it, with the members that follow from it. The machine
	// saves conf with the applied index. cc.Context is what the proposer of the change gave; a change without any
	// Changes leaves a joint configuration.
	ApplyConf(e *raftpb.Entry, cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) error
	// Applied returns the last entry that the state contains, with the members as of it. Called once, by New. Until the
	// first change of members these are the voters and learners of Config.Peers; a state at index 0 may leave them out
	// (nil).
	Applied() (index, term uint64, conf *raftpb.ConfState)
	// Sync makes what is applied durable and returns an applied index that is. Called from another goroutine,
	// concurrently with every other method. An error that is durable.Full does not stop the node: it is called again.
	Sync() (index uint64, err error)
	// Checkpoint takes hold of the state as it is, for a checkpoint in the new directory dir on Config.FS. Nothing is
	// applied meanwhile: what takes long is left to the Draft.
	Checkpoint(dir string) (*Checkpoint, error)
	// Install replaces the state, atomically and durably, by the checkpoint in dir, which the group removes. An error
	// wraps ErrSpoiled if that is damaged.
	Install(dir string) (index, term uint64, conf *raftpb.ConfState, err error)
	// Inspect returns what Install would, of a checkpoint that may have been made by anybody, and changes nothing; an
	// error if it is none of this machine's. Called from any goroutine, concurrently with every other method.
	Inspect(dir string) (index, term uint64, conf *raftpb.ConfState, err error)
}

// Checkpoint is a state that a machine holds on to until it is written out.
type Checkpoint struct {
	Index, Term uint64            // of the last entry it contains
	Conf        *raftpb.ConfState // the members as of it
	Draft       Draft
}

// Draft is a checkpoint that is not there yet. Whoever has it calls Write, or else Close, once, from any goroutine and
// concurrently with every method of the machine.
type Draft interface {
	// Write makes the directory hold the state in files that never change again, and lets go of it. An error is no
	// reason to stop: the machine may have been given another state meanwhile.
	Write() error
	// Close lets go of the state.
	Close() error
}

// Config is what a group is made of. Fields without a default are required.
type Config struct {
	// ID is this node's; it must be among Peers unless Join.
	ID   uint64
	Name string
	// GroupID keeps groups apart: peers of another are refused at connection.
	GroupID string
	// Peers form the group. They are used as long as log and state hold nothing else, and must be equal on all of them.
	Peers []Peer
	// Join makes a node without log and state wait until a leader of an existing group sends it the state.
	Join bool
	// Aside makes the group take no part before [Group.TakePart]: it hears nobody, votes for nobody and stands for no
	// election.
	Aside bool

	Log     *wal.Log
	Machine Machine
	// Room is what the machine waits with where it finds no room. While it does, this node leads only if nobody else
	// can. May be nil.
	Room *Room
	// Unfit reports whether a member must not lead, as far as this one knows: if it is this one, it hands leadership
	// over, stands for an election only if nobody else leads for a while, and gives nobody its state. It votes. Nobody
	// hands leadership over to one. It is called often, and must not block. May be nil: all may.
	Unfit func(id uint64) bool
	// Agreed returns an entry that a member said was agreed on by the group, with its term: this one helps nobody to
	// lead who lacks it. Zero: none did, or did not say of which term. It is called often, and must not
	// block. May be nil.
	Agreed func() (index, term uint64)
	// Perhaps returns an entry that is in the log of a member and may be agreed on, with its term: this one helps
	// nobody to lead whose log ends before. Zero: there is none, or that counts no more. As Agreed otherwise.
	Perhaps func() (index, term uint64)
	// Awaits reports whether one of these voters has not been heard since this node started, and is waited for: as long
	// as it does this one helps nobody to lead. The owner bounds that: over says that it waits no more, and one was not
	// heard. It is called often, and must not block. May be nil.
	Awaits func(voters []uint64) (awaits, over bool)
	// Parted reports whether a member agreed on another entry in the place of one that this one has committed: it is
	// not voted for. As Awaits otherwise.
	Parted func(id uint64) bool
	// Look tells whether the files of a checkpoint of the machine are what was written, by errors that wrap
	// checkpoint.ErrCorrupt. Zero: nobody can. OnDamage is told that those of this node are not; it may be nil.
	Look     snapshots.Look
	OnDamage func(error)
	// FS and StagingDir are where checkpoints stay while they are sent and received. The directory belongs to the
	// group.
	FS         durable.FS
	StagingDir string

	// Transport opens streams to peers; the services a peer opens here are returned by Group.Services.
	Transport transport.Transport
	// Directory tells where members are reached, and what the log calls them.
	Directory peers.Directory

	// Caller returns which member opened the stream of a context; false if that is not known. May be nil.
	Caller func(ctx context.Context) (id uint64, known bool)
	// Admits reports whether a member is heard. Its messages are refused as long as it is not. It is called often, and
	// must not block. May be nil: all are.
	Admits func(id uint64) bool
	// Apart reports whether who is at an address as a member is known to be of another life of the group, which he
	// formed anew: nothing is sent to him there. It is called often, and must not block. May be nil: nobody is.
	Apart func(id uint64, addr string) bool
	// Ask asks a member what it knows of this node, and of an entry: its [Group.Account]. Where a message says that
	// this node lost what it had, and must stop, that member is asked before it is believed. Called from any goroutine;
	// bounds its own time. May be nil: then it is believed.
	Ask func(ctx context.Context, member, at uint64) (Account, error)

	Clock          clock.Clock
	TickInterval   time.Duration // the unit of Raft time
	ElectionTicks  int           // an election after one to two times as long without a leader; at least 3
	HeartbeatTicks int           // default 1

	// CompactBytes is how much log is written between two attempts to release log, and at least so much is always kept
	// for members that come back.
	CompactBytes int64
	// MaxMessageBytes is where a message to a follower is closed; a larger entry travels alone. Default 1 MiB, at most
	// 8 MiB.
	MaxMessageBytes int64
	// MaxInflightBytes bounds what is on its way to one follower. Default 64 MiB.
	MaxInflightBytes int64
	// MaxUncommittedBytes bounds what a leader took and a quorum has not confirmed; beyond it Propose returns ErrBusy.
	// Default 256 MiB.
	MaxUncommittedBytes int64
	// MaxApplyBytes bounds what is on its way to the machine. Default 32 MiB.
	MaxApplyBytes int64

	Logger *slog.Logger // default: slog.Default

	// OnLeader is told that this node leads term and has applied everything up to and including its own first entry of
	// it: what it applied is the state after its whole log as it was then. OnFollower is told that this node stepped
	// down, or that another leads (0: none known). Both are called from the applier goroutine, in order with Apply, and
	// must not block. Either may be nil.
	OnLeader   func(term uint64)
	OnFollower func(term, leader uint64)
	// OnFatal is told, once and on a goroutine of its own, why the group stopped itself. It may call Stop. May be nil.
	OnFatal func(error)
}

// Defaults and limits; Config says what each of them is for.
const (
	minElectionTicks        = 3
	defaultHeartbeatTicks   = 1
	defaultMessageBytes     = 1 << 20
	defaultInflightBytes    = 64 << 20
	defaultUncommittedBytes = 256 << 20
	defaultApplyBytes       = 32 << 20
	maxInflightMessages     = 1024    // to one follower; bytes are what bounds it, but for the smallest entries
	maxMessageBytes         = 8 << 20 // small entries may take several times what raft counts
)

// withDefaults returns c with every optional field set, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.HeartbeatTicks, defaultHeartbeatTicks)
	setDefault(&c.MaxMessageBytes, defaultMessageBytes)
	setDefault(&c.MaxInflightBytes, max(defaultInflightBytes, c.MaxMessageBytes))
	setDefault(&c.MaxUncommittedBytes, defaultUncommittedBytes)
	setDefault(&c.MaxApplyBytes, defaultApplyBytes)
	if c.Clock == nil {
		c.Clock = clock.Real
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	switch {
	case c.ID == 0:
		return c, fmt.Errorf("%w: ID is 0", ErrConfig)
	case c.Log == nil || c.Machine == nil || c.FS == nil || c.StagingDir == "" ||
		c.Transport == nil || c.Directory == nil:
		return c, fmt.Errorf("%w: Log, Machine, FS, StagingDir, Transport and Directory are required", ErrConfig)
	case c.TickInterval <= 0 || c.CompactBytes <= 0:
		return c, fmt.Errorf("%w: TickInterval %v and CompactBytes %d must be positive", ErrConfig, c.TickInterval,
			c.CompactBytes)
	case c.MaxUncommittedBytes < 0 || c.MaxApplyBytes < 0 || c.MaxMessageBytes < 0:
		return c, fmt.Errorf("%w: a limit is negative", ErrConfig)
	case c.ElectionTicks < minElectionTicks || c.HeartbeatTicks < 1 || c.ElectionTicks <= c.HeartbeatTicks:
		return c, fmt.Errorf("%w: ElectionTicks %d (at least %d) with HeartbeatTicks %d",
			ErrConfig, c.ElectionTicks, minElectionTicks, c.HeartbeatTicks)
	case c.MaxInflightBytes < c.MaxMessageBytes || c.MaxMessageBytes > maxMessageBytes:
		return c, fmt.Errorf("%w: MaxMessageBytes %d must be at most %d and MaxInflightBytes %d",
			ErrConfig, c.MaxMessageBytes, maxMessageBytes, c.MaxInflightBytes)
	}
	return c, c.checkPeers()
}

func (c *Config) checkPeers() error {
	seen := make(map[uint64]bool, len(c.Peers))
	voters := 0
	for _, p := range c.Peers {
		if p.ID == 0 || seen[p.ID] {
			return fmt.Errorf("%w: peer %q has ID %d, which is zero or taken", ErrConfig, p.Name, p.ID)
		}
		seen[p.ID] = true
		if !p.Learner {
			voters++
		}
	}
	if !c.Join && (voters == 0 || !seen[c.ID]) {
		return fmt.Errorf("%w: %d voters, and node %d among them: %t", ErrConfig, voters, c.ID, seen[c.ID])
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
