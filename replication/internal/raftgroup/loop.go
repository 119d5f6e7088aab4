package raftgroup

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// loop owns the Raft state machine. Everything here runs on its goroutine, and never blocks.
type loop struct {
	g    *Group
	node *raft.RawNode
	work work // of this turn

	// As of the last Ready.
	term    uint64
	leader  uint64
	leading bool
	commit  uint64
	// start is the first index of the term that this node leads; 0 until it is known.
	start uint64

	taken        []*proposal // stepped in this turn; their index comes with the next Ready
	takenEntries uint64
	reads        reads
	transfers    []*leaderTransfer
	offered      []*raftpb.Snapshot // stepped in this turn
	syncing      bool               // the machine is being made durable
	installing   []byte             // the ID of the checkpoint last handed to the writer
}

func newLoop(g *Group, initial recovered) (l *loop, err error) {
	s := &storage{log: g.config.Log, initial: initial, snapshot: g.outgoing.snapshot}
	defer func() {
		if r := recover(); r != nil { // raft panics at what it cannot start from
			err = errors.Join(ErrInvariant, fmt.Errorf("%v", r))
		}
	}()
	node, err := raft.NewRawNode(raftConfig(&g.config, s))
	if err != nil {
		return nil, err
	}
	return &loop{g: g, node: node, term: initial.hard.GetTerm(), commit: initial.hard.GetCommit(), reads: newReads(g.config.ID)}, nil
}

func (l *loop) run() {
	defer l.g.endLoop()
	ticker := l.g.config.Clock.NewTicker(l.g.config.TickInterval)
	defer ticker.Stop()
	l.begin()
	for {
		ticked := false
		select {
		case <-l.g.context.Done():
			return
		case <-ticker.C():
			ticked = true
		case <-l.g.mail.wake:
		}
		l.turn(ticked)
	}
}

// begin lets the only voter lead at once: there is nobody to wait for.
func (l *loop) begin() {
	conf := l.g.view.conf.Load()
	if voters := conf.GetVoters(); len(voters) == 1 && voters[0] == l.g.config.ID && len(conf.GetVotersOutgoing()) == 0 {
		_ = l.node.Campaign() // refused only while a membership change waits to be applied; then the timeout does it
	}
	l.drain()
}

// turn does everything that waits. Proposals come last, so that the last entries of the Ready that follows are theirs.
func (l *loop) turn(ticked bool) {
	l.g.mail.take(&l.work)
	for _, m := range l.work.local {
		_ = l.node.Step(m)
	}
	for _, m := range l.work.received {
		l.receive(m)
	}
	for _, call := range l.work.calls {
		call()
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
	l.dropUnusedSnapshots()
	l.checkTransfers()
}

// receive steps a message of a peer. Errors of Step concern messages of members that are no more.
func (l *loop) receive(m *raftpb.Message) {
	switch m.GetType() {
	case raftpb.MsgSnap:
		l.offered = append(l.offered, m.GetSnapshot())
	case raftpb.MsgReadIndex:
		l.receiveRead(m)
		return
	}
	_ = l.node.Step(m)
}

func (l *loop) tick() {
	l.node.Tick()
	l.reads.tick(l.g.config.ElectionTicks)
	l.g.outgoing.tick()
}

// drain handles what raft has ready.
func (l *loop) drain() {
	for l.node.HasReady() {
		rd := l.node.Ready()
		l.observe(&rd)
		for _, m := range rd.Messages {
			l.dispatch(m)
		}
		for _, state := range rd.ReadStates {
			l.reads.confirm(state)
		}
		l.read()
	}
}

// dispatch sends a message where it belongs. Those to peers come first in a Ready: they travel while the log is written.
func (l *loop) dispatch(m *raftpb.Message) {
	switch m.GetTo() {
	case raft.LocalAppendThread:
		l.appending(m)
		l.g.writer.queue.push(writerTask{message: m})
	case raft.LocalApplyThread:
		l.g.applier.queue.push(applierTask{message: m})
	default:
		if m.GetType() == raftpb.MsgSnap {
			l.g.outgoing.send(m)
		} else {
			l.g.network.send(m)
		}
	}
}

// appending notes what goes to the log.
func (l *loop) appending(m *raftpb.Message) {
	if m.GetSnapshot() != nil {
		l.installing = m.GetSnapshot().GetData()
	}
	if l.leading && l.start == 0 {
		for _, e := range m.GetEntries() {
			if e.GetTerm() == l.term {
				l.start = e.GetIndex()
				break
			}
		}
	}
	l.answerProposals(m.GetEntries())
}

// observe publishes a change of term, leader or commit, and tells the applier of a change of role in order with the entries.
func (l *loop) observe(rd *raft.Ready) {
	term, leader, leading := l.term, l.leader, l.leading
	if !raft.IsEmptyHardState(rd.HardState) {
		term = rd.HardState.GetTerm()
		l.commit = rd.HardState.GetCommit()
		l.g.view.commit.Store(l.commit)
	}
	if rd.SoftState != nil {
		leader, leading = rd.SoftState.Lead, rd.SoftState.RaftState == raft.StateLeader
	}
	if term == l.term && leader == l.leader && leading == l.leading {
		return
	}
	if leading != l.leading || leader != l.leader {
		l.g.log.Info("leader", "term", term, "leader", leader, "self", leading)
	}
	if leading && (!l.leading || term != l.term) {
		l.start = 0
	}
	was := role{term: l.term, leader: l.leader, leading: l.leading}
	l.term, l.leader, l.leading = term, leader, leading
	l.g.view.term.Store(term)
	l.g.view.leader.Store(leader)
	l.g.view.leading.Store(leading)
	is := role{term: term, leader: leader, leading: leading}
	if is.leading || was.leading || is.leader != was.leader {
		l.g.applier.queue.push(applierTask{role: &is})
	}
	l.reads.askAgain()
}
