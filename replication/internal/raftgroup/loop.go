package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/invariant"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// loop owns the Raft state machine. Everything here runs on its goroutine, and never blocks: what takes time is handed
// to the neighbours, whose answers come back through the mailbox.
//
// What holds between two turns:
//
//  1. term, leader, leading and commit are those of raft's last Ready, and what view shows.
//  2. Whoever leads names itself as the leader.
//  3. start is 0 unless this node leads, and then it is the first index of its term, once that is known.
//  4. Nothing of the turn is left: no proposal without an answer, no snapshot that was neither taken nor discarded.
type loop struct {
	self           uint64
	clock          clock.Clock
	tickInterval   time.Duration
	electionTicks  int
	maxUncommitted int64
	log            *slog.Logger
	directory      peers.Directory // for the log

	mail *mailbox
	neighbours
	view *view
	end  logEnd

	node *raft.RawNode
	work work // of this turn

	term    uint64
	leader  uint64
	leading bool
	commit  uint64
	start   uint64
	handed  uint64 // the last entry that went to the log, whether it is durable or not
	changes uint64 // of members that raft has taken
	adopted uint64 // the index of the last checkpoint that went to the log; below it may be what it replaces

	heard map[uint64]time.Time // when a member answered this leader last
	woken bool                 // one answered who was not active, and is not shown so yet
	broke map[uint64]time.Time // when messages to a member were lost last
	led   time.Time            // when this node began to lead last

	taken        []*proposal // stepped in this turn; their index comes with the next Ready
	takenEntries uint64      // of all of taken
	reads        reads
	transfers    []*leaderTransfer
	offered      []*raftpb.Snapshot // stepped in this turn
	installing   []byte             // the ID of the checkpoint last handed to the writer, in this turn
	floor        uint64             // raft's log reaches up to here at least
	aside        bool               // it hears nobody, and stands for no election
	door         doorman
	doubts       doubts
	lost         forgetfuls // empty unless this node leads
	ahead        aheads     // likewise
	broken       error      // why this node must not go on
	disk         disk
	starving     starving
	unfit        unfit
	agreed       agreed
	leaving      leaving
}

// neighbours are to whom the loop hands what raft has ready. None of their methods blocks.
type neighbours struct {
	writer   logThread
	applier  applyThread
	peers    sender
	outgoing offerer
	incoming discarder
}

// logThread takes what goes to the log, in order.
type logThread interface {
	append(m *raftpb.Message)
	// writing returns the number of the write that is under way, 0 if there is none.
	writing() uint64
}

// applyThread takes what goes to the machine, and what must be known in order with it.
type applyThread interface {
	apply(m *raftpb.Message)
	changeRole(r role)
	awaitChange(w *memberWait)
	// applying returns the number of the step of the machine that is under way, 0 if there is none.
	applying() uint64
}

// sender takes messages to other members.
type sender interface {
	messenger
	Retain(conf *raftpb.ConfState)
}

// offerer makes and sends checkpoints.
type offerer interface {
	Snapshot() (*raftpb.Snapshot, error)
	Send(m *raftpb.Message)
	// Retain ends sending to those who are not in conf.
	Retain(conf *raftpb.ConfState)
	Tick()
}

// discarder is told of received checkpoints that raft had no use for.
type discarder interface{ Discard(id []byte) }

// newLoop starts raft from what log and machine say.
func newLoop(c *Config, initial recovered, mail *mailbox, n neighbours, v *view) (l *loop, err error) {
	defer func() {
		if r := recover(); r != nil { // raft panics at what it cannot start from
			err = errors.Join(ErrInvariant, fmt.Errorf("%v", r))
		}
	}()
	node, err := raft.NewRawNode(raftConfig(c, &storage{log: c.Log, initial: initial, snapshots: n.outgoing}))
	if err != nil {
		return nil, err
	}
	return &loop{
		self: c.ID, clock: c.Clock, tickInterval: c.TickInterval, electionTicks: c.ElectionTicks,
		maxUncommitted: c.MaxUncommittedBytes, log: c.Logger, directory: c.Directory, mail: mail,
		neighbours: n, view: v, end: c.Log, handed: max(c.Log.LastIndex(), initial.applied),
		floor: max(c.Log.LastIndex(), initial.applied),
		door:  doorman{now: c.Clock.Now, log: c.Logger, names: c.Directory, admits: c.Admits},
		lost:  make(forgetfuls), ahead: make(aheads),
		node: node, term: initial.hard.GetTerm(), commit: initial.hard.GetCommit(), reads: newReads(c.ID),
		heard: map[uint64]time.Time{}, broke: map[uint64]time.Time{}, aside: c.Aside, starving: starving{room: c.Room},
		unfit: unfit{is: c.Unfit}, agreed: newAgreed(c, initial.hard.GetTerm()),
	}, nil
}

// raftConfig is how a group uses raft.
func raftConfig(c *Config, s *storage) *raft.Config {
	return &raft.Config{
		ID:                        c.ID,
		ElectionTick:              c.ElectionTicks,
		HeartbeatTick:             c.HeartbeatTicks,
		Storage:                   s,
		Applied:                   s.initial.applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             uint64(c.MaxMessageBytes),
		MaxCommittedSizePerReady:  uint64(c.MaxApplyBytes),
		MaxUncommittedEntriesSize: uint64(c.MaxUncommittedBytes),
		MaxInflightMsgs:           maxInflightMessages,
		MaxInflightBytes:          uint64(c.MaxInflightBytes),
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    raftLogger{c.Logger},
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	}
}

// valid returns what contradicts the properties above. It is the loop's, between turns.
func (l *loop) valid() error {
	v := l.view
	switch {
	case l.term != v.term.Load() || l.commit != v.commit.Load() ||
		l.leader != v.leader.Load() || l.leading != v.leading.Load():
		return fmt.Errorf("loop: at commit %d of term %d led by %d, shows %d of %d led by %d",
			l.commit, l.term, l.leader, v.commit.Load(), v.term.Load(), v.leader.Load())
	case l.leading && l.leader != l.self:
		return fmt.Errorf("loop: %d leads term %d and names %d", l.self, l.term, l.leader)
	case !l.leading && l.start != 0:
		return fmt.Errorf("loop: term %d begins at %d without being led from here", l.term, l.start)
	case len(l.taken) > 0 || l.takenEntries > 0:
		return fmt.Errorf("loop: %d proposals of %d entries have no answer", len(l.taken), l.takenEntries)
	case len(l.offered) > 0 || l.installing != nil:
		return fmt.Errorf("loop: %d snapshots are neither taken nor discarded", len(l.offered))
	}
	return l.reads.valid()
}

func (l *loop) run(ctx context.Context) error {
	ticker := l.clock.NewTicker(l.tickInterval)
	defer ticker.Stop()
	l.begin()
	for {
		ticked := false
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			ticked = true
		case <-l.mail.wake:
		}
		l.turn(ticked)
		if l.broken != nil {
			return l.broken
		}
		invariant.Check("raftgroup", l.valid)
	}
}

// begin lets the only voter lead at once: there is nobody to wait for.
func (l *loop) begin() {
	conf := l.view.conf.Load()
	alone := len(conf.GetVoters()) == 1 && len(conf.GetVotersOutgoing()) == 0
	if alone && conf.GetVoters()[0] == l.self && !l.aside {
		_ = l.node.Campaign() // refused only while a membership change waits to be applied; then the timeout does it
	}
	l.drain()
	show(l, false)
}

// turn does everything that waits. Proposals come last, so that the last entries of the Ready that follows are theirs.
func (l *loop) turn(ticked bool) {
	l.mail.take(&l.work)
	for _, m := range l.work.local {
		_ = l.node.Step(m)
	}
	for _, m := range l.work.received {
		if l.receive(m); l.broken != nil {
			return
		}
	}
	for _, call := range l.work.calls {
		call(l)
	}
	if ticked {
		l.tick()
	}
	l.reads.waiting = append(l.reads.waiting, l.work.reads...)
	l.read()
	for _, p := range l.work.proposals {
		l.propose(p)
	}
	l.work.clear()
	l.drain()
	l.discardUnused()
	l.checkTransfers()
	l.measureDisk()
	show(l, ticked)
}

// receive steps a message of a peer. Errors of Step concern messages of members that are no more.
func (l *loop) receive(m *raftpb.Message) {
	if m.GetType() == raftpb.MsgSnap {
		l.offered = append(l.offered, m.GetSnapshot())
	}
	if l.aside || l.door.refuses(m, l.self, l.node.BasicStatus(), l.term) {
		return
	}
	switch m.GetType() {
	case raftpb.MsgSnap:
		l.floor = min(l.floor, m.GetSnapshot().GetMetadata().GetIndex())
	case raftpb.MsgReadIndex:
		l.receiveRead(m)
		return
	case raftpb.MsgHeartbeat, raftpb.MsgApp:
		if w := l.checkOwnLog(m); w != nil {
			l.doubts.raise(l, w)
			return
		}
		if m.GetType() == raftpb.MsgHeartbeat {
			m.Commit = new(min(m.GetCommit(), l.floor))
		} else if l.stuck() && m.GetTerm() <= l.term {
			return // its answer would wait for the disk, as one for each heartbeat does
		} else if n := len(m.GetEntries()); n > 0 {
			l.floor = min(l.floor, m.GetIndex()+uint64(n))
		}
	case raftpb.MsgTimeoutNow, raftpb.MsgVote, raftpb.MsgPreVote:
		if m.GetType() == raftpb.MsgTimeoutNow && l.unfit.declines(l) {
			return
		}
		if l.doubts.keepAway() || l.stuck() { // an answer would wait for the disk, and so would every other
			return
		}
		if m.GetType() != raftpb.MsgTimeoutNow {
			if l.agreed.keeps(l, m) {
				return
			}
			l.agreed.leap(l)
		}
		if m.GetType() == raftpb.MsgTimeoutNow && m.GetTerm() >= l.term {
			l.disk.rest = slowRestElections * l.electionTicks
		}
	case raftpb.MsgHeartbeatResp:
		l.hear(m)
	case raftpb.MsgAppResp:
		l.hear(m)
		if l.outran(m) {
			return
		}
		if !m.GetReject() {
			l.acknowledged(m)
		} else if l.refused(m) {
			return
		}
	}
	_ = l.node.Step(m)
	switch m.GetType() {
	case raftpb.MsgHeartbeat, raftpb.MsgApp, raftpb.MsgSnap:
		l.view.spoken(m, l.node, l.clock.Now())
	}
}

func (l *loop) tick() {
	l.watchDisk()
	l.starving.tick(l)
	l.unfit.tick(l)
	l.agreed.tick(l)
	if l.leading || !l.aside && !l.stuck() && !l.doubts.keepAway() {
		l.node.Tick()
	}
	leaveJoint(l)
	if l.leading {
		l.view.answered(l.self, l.heard, l.clock.Now())
	}
	l.reads.tick(l.electionTicks)
	l.outgoing.Tick()
	if err := l.leaving.tick(l.view, l.self, l.electionTicks); err != nil {
		l.broken = err
	}
}
