package snapshots

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

const (
	outgoingDir = "send"     // in Config.Dir
	pinName     = "snapshot" // of the log after a checkpoint that may be sent

	// A checkpoint that nobody takes is kept for this many election timeouts, for another follower or another try.
	idleElections = 6
	// After a failure nothing is made or sent for this many election timeouts.
	pauseElections = 1
)

// Outgoing makes checkpoints for followers that need more than the log holds, one at a time, and sends them.
//
// raft asks for a snapshot before it sends one, and is told to come back later until the checkpoint is there: so what
// raft says of the snapshot is what the files hold (P1). Snapshot, Send, Retain and Tick are the loop's, and never
// block.
//
// What holds whenever mu is free:
//
//  1. Nothing is held while the next is made, or what was held is removed: both would be in the same directory.
//  2. The log is pinned exactly while a checkpoint is made or held (P2).
//  3. What is held has a name, and as many users as transfers run.
//  4. It is idle only while it has no users, and not for longer than idleElections.
type Outgoing struct {
	config  Config
	dir     string
	log     Log
	state   State
	network Network
	raft    Raft
	life    peers.Lifetime

	mu       sync.Mutex
	held     *held
	making   bool
	clearing bool // what was held is being removed
	left     bool // what was held, or is of one that was not completed, could not be removed
	pinned   bool
	pause    int // ticks before the next may be made or sent
	forgot   int // how often what was here was forgotten
	sending  map[*sending]bool
}

// held is a checkpoint that is complete.
type held struct {
	manifest *checkpoint.Manifest
	snapshot *raftpb.Snapshot
	users    int // transfers under way
	idle     int // ticks without any
	stale    bool
	gone     bool // the state is another one now: nobody gets more of it
}

// sending is a transfer under way.
type sending struct {
	held *held
	to   uint64
	ctx  context.Context
	end  context.CancelCauseFunc
}

// NewOutgoing makes the directory, and removes from it what a former life left: later, if it cannot be now.
func NewOutgoing(c Config, log Log, state State, network Network, r Raft, life peers.Lifetime) (*Outgoing, error) {
	o := &Outgoing{
		config: c, dir: filepath.Join(c.Dir, outgoingDir),
		log: log, state: state, network: network, raft: r, life: life, sending: map[*sending]bool{},
	}
	if err := c.FS.MkdirAll(c.Dir); err != nil {
		return nil, fmt.Errorf("raftgroup: staging directory: %w", err)
	}
	_ = o.remove() // which says so
	return o, nil
}

// valid returns what contradicts the properties above. It is for tests.
func (o *Outgoing) valid() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.held
	switch {
	case o.pause < 0:
		return fmt.Errorf("outgoing: pauses for %d ticks", o.pause)
	case h == nil && len(o.sending) > 0 || h != nil && len(o.sending) != h.users:
		return fmt.Errorf("outgoing: %d transfers of what is held or not", len(o.sending))
	case (o.making || o.clearing) && h != nil:
		return fmt.Errorf("outgoing: makes another beside the one at %d", h.index())
	case o.pinned != (o.making || h != nil):
		return fmt.Errorf("outgoing: makes one: %t, holds one: %t, log pinned: %t", o.making, h != nil, o.pinned)
	case h == nil:
		return nil
	case len(h.snapshot.GetData()) != idBytes || h.index() == 0:
		return fmt.Errorf("outgoing: holds one at %d with an ID of %d bytes", h.index(), len(h.snapshot.GetData()))
	case h.users < 0 || h.users > 0 && h.idle > 0 || h.idle > idleElections*o.config.ElectionTicks:
		return fmt.Errorf("outgoing: the one at %d has %d users and is idle for %d ticks", h.index(), h.users, h.idle)
	}
	return nil
}

func (h *held) index() uint64 { return h.snapshot.GetMetadata().GetIndex() }

// remove deletes what is left of a checkpoint. What cannot be deleted now is left to Tidy.
func (o *Outgoing) remove() error {
	err := o.config.FS.RemoveAll(o.dir)
	o.mu.Lock()
	was := o.left
	o.left = err != nil
	o.mu.Unlock()
	switch { // it is said once
	case err != nil && !was:
		o.config.Logger.Warn("checkpoint not removed; it is tried again", "err", err)
	case err == nil && was:
		o.config.Logger.Info("a checkpoint was removed that could not be before", "dir", o.dir)
	}
	if err != nil {
		return fmt.Errorf("raftgroup: removing %s: %w", o.dir, err)
	}
	return nil
}

// Snapshot is raft.Storage's: the one that is held, if the log goes on after it; or ErrSnapshotTemporarilyUnavailable,
// and then one is on its way unless the last failed just now.
func (o *Outgoing) Snapshot() (*raftpb.Snapshot, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pause > 0 || o.clearing || o.unfit() {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	if h := o.held; h != nil {
		if !h.stale && h.index()+1 >= o.log.FirstIndex() {
			return h.snapshot, nil
		}
		if h.users > 0 {
			return nil, raft.ErrSnapshotTemporarilyUnavailable
		}
		o.drop()
	}
	if !o.making {
		o.making = true
		o.pin(o.state.Applied() + 1) // what is made from now on contains at least that much
		forgot := o.forgot
		o.life.Spawn(func() { o.make(forgot) })
	}
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

// errUnfit is why a checkpoint is not made or sent.
var errUnfit = errors.New("raftgroup: this node holds something else than its region, or is being rebuilt")

// unfit reports whether the state here is one of which no checkpoint is given.
func (o *Outgoing) unfit() bool { return o.config.Unfit != nil && o.config.Unfit() }

// Forget ends what is made, sent and kept for others: another state is about to take the place of the one here, which
// was wrong. It may be called from any goroutine.
func (o *Outgoing) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forgot++
	h := o.held
	if h == nil {
		return
	}
	h.gone, h.stale = true, true
	for s := range o.sending {
		s.end(errUnfit)
	}
	if h.users == 0 {
		o.drop()
		o.clearing = o.life.Spawn(o.clear)
	}
}

// make has a checkpoint made and sums its files. Only the copying is between two entries; the rest delays nobody. What
// is not complete takes no room.
func (o *Outgoing) make(forgot int) {
	if err := o.remove(); err != nil {
		o.made(nil, err, forgot)
		return
	}
	h, err := o.checkpoint()
	if err != nil {
		err = errors.Join(err, o.remove())
	}
	o.made(h, err, forgot)
}

func (o *Outgoing) checkpoint() (*held, error) {
	meta, err := o.state.Checkpoint(o.life.Context(), o.dir)
	if err != nil {
		return nil, err
	}
	var id [idBytes]byte
	rand.Read(id[:]) // never fails
	sums := checkpoint.Sums{Look: o.config.Look}
	m, err := sums.Describe(o.life.Context(), o.config.FS, o.dir, id, nil, nil)
	if errors.Is(err, checkpoint.ErrCorrupt) && o.config.Damaged != nil {
		o.config.Damaged(err)
	}
	if err != nil {
		return nil, err
	}
	return &held{manifest: m, snapshot: &raftpb.Snapshot{Data: id[:], Metadata: meta}}, nil
}

// made notes the outcome. A checkpoint that cannot be made, for lack of space perhaps, is no reason to stop the leader
// (P5).
func (o *Outgoing) made(h *held, err error, forgot int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil && o.forgot != forgot {
		h, err = nil, errUnfit
		o.clearing = o.life.Spawn(o.clear)
	}
	o.making, o.held = false, h
	if err != nil {
		o.unpin()
		o.pause = pauseElections * o.config.ElectionTicks
		if o.life.Context().Err() == nil {
			o.config.Logger.Warn("no checkpoint for a follower", "err", err)
		}
		return
	}
	o.config.Logger.Info("checkpoint made", "index", h.index(), "bytes", h.manifest.Bytes())
}

// Tick lets time pass: a pause ends, and a checkpoint that nobody needs any more goes.
func (o *Outgoing) Tick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pause = max(0, o.pause-1)
	if o.held == nil || o.held.users > 0 {
		return
	}
	if o.held.idle++; o.held.idle > idleElections*o.config.ElectionTicks {
		o.drop()
		o.clearing = o.life.Spawn(o.clear)
	}
}

// clear removes what was held: its files keep room of the disk that the state has given up since.
func (o *Outgoing) clear() {
	_ = o.remove() // which says so
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clearing = false
}

// drop forgets the checkpoint; o.mu is held. Its directory is removed before the next is made.
func (o *Outgoing) drop() {
	o.held = nil
	o.unpin()
}

func (o *Outgoing) pin(index uint64) {
	o.log.Pin(pinName, index)
	o.pinned = true
}

func (o *Outgoing) unpin() {
	o.log.Unpin(pinName)
	o.pinned = false
}
