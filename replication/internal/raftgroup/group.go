package raftgroup

import (
	"fmt"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/snapshots"
)

// Group is one member of a Raft group. Its methods are safe for concurrent use.
//
// It is what puts the parts together, and nobody but its owner holds one: each part knows the neighbours that it hands
// work to by what it needs of them, and everybody reaches the loop through the mailbox alone.
//
//	     proposals, reads, messages of peers, answers
//	                     │ mailbox
//	                   loop ──────────────► peers, outgoing
//	    log ┌────────────┴───────────┐ committed
//	     writer ──── install ────► applier
//	sync │ answers                   │ Machine
//
// So a part may be read, and tested, with nothing but its neighbours' interfaces in hand.
type Group struct {
	config Config

	life     *lifetime
	mail     *mailbox
	view     *view
	network  *peers.Network
	incoming *snapshots.Incoming
	outgoing *snapshots.Outgoing
	applier  *applier
	writer   *writer
	loop     *loop

	started atomic.Bool
}

// New recovers the group from its log and machine. Nothing runs before Start.
func New(c Config) (*Group, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	initial, err := recoverState(&c)
	if err != nil {
		return nil, err
	}
	if gone(initial.conf, c.ID) && initial.applied >= initial.hard.GetCommit() {
		return nil, fmt.Errorf("%w: as of entry %d", ErrRemoved, initial.applied)
	}
	c.Logger = c.Logger.With("group", c.GroupID, "node", c.Name)
	g := &Group{config: c, mail: newMailbox(), view: newView(initial)}
	g.life = newLifetime(c.Logger, g.mail, c.OnFatal)
	// Each is made from what stands above it; only the mailbox leads back up.
	network := peersConfig(&c)
	// What this node was told is not what its end says to others: they would take it for a word to them.
	network.OnRemoved = func(told error) { g.life.fail(fmt.Errorf("%w: %v", ErrRemoved, told)) }
	g.network = peers.New(network, g.mail, g.life)
	g.incoming = snapshots.NewIncoming(snapshotsConfig(&c), g.network, g.mail, g.life, initial.applied)
	g.applier = newApplier(&c, c.Log, g.view, g.mail, g.incoming)
	g.outgoing, err = snapshots.NewOutgoing(snapshotsConfig(&c), c.Log, g.applier, g.network, g.mail, g.life)
	if err != nil {
		return nil, err
	}
	g.writer = newWriter(&c, g.applier, g.network, g.mail, newCompaction(&c, g.mail, g.life))
	g.loop, err = newLoop(&c, initial, g.mail, neighbours{
		writer: g.writer, applier: g.applier, peers: g.network, outgoing: g.outgoing, incoming: g.incoming,
	}, g.view)
	if err != nil {
		return nil, err
	}
	g.loop.doubts = newDoubts(&c, g.life, g.mail)
	return g, nil
}

func peersConfig(c *Config) peers.Config {
	return peers.Config{
		Group: c.GroupID, ID: c.ID, Transport: c.Transport, Directory: c.Directory,
		Clock: c.Clock, TickInterval: c.TickInterval, MaxInflightBytes: c.MaxInflightBytes, Logger: c.Logger,
		Caller: c.Caller, Apart: c.Apart,
	}
}

func snapshotsConfig(c *Config) snapshots.Config {
	return snapshots.Config{
		FS: c.FS, Dir: c.StagingDir, Clock: c.Clock, ElectionTicks: c.ElectionTicks, Inspect: c.Machine.Inspect,
		Look: c.Look, Damaged: c.OnDamage, Logger: c.Logger,
		Unfit: func() bool { return c.Unfit != nil && c.Unfit(c.ID) },
	}
}
