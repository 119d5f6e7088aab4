package raftgroup

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// drain handles what raft has ready. With asynchronous storage nothing of it is acknowledged here: every message to a
// local thread carries the answers that step it further, once it is done.
func (l *loop) drain() {
	for l.node.HasReady() {
		rd := l.node.Ready()
		l.observe(&rd)
		if rd.SoftState != nil && rd.SoftState.RaftState == raft.StateCandidate {
			l.agreed.leap(l) // the votes that it asks for now are of a term that is over
		}
		for _, m := range l.afterSync(rd.Messages) {
			l.dispatch(m)
		}
		for _, state := range rd.ReadStates {
			l.reads.confirm(state)
		}
		l.read()
	}
	l.floor = l.handed
}

// afterSync moves the requests for votes among the answers that wait for the log. raft lets them leave at once, and
// counts only the candidate's own vote after it is durable; but the votes of the others are enough to lead. A candidate
// that leads, and whom a power cut sets back to the term before, would be given the same votes again, for another log.
// With them held back, whoever leads a term has it on disk, and so everything that a leader says may leave at once.
func (l *loop) afterSync(messages []*raftpb.Message) []*raftpb.Message {
	asks := func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgVote }
	if !slices.ContainsFunc(messages, asks) {
		return messages
	}
	var requests, others []*raftpb.Message
	var toLog *raftpb.Message
	for _, m := range messages {
		switch {
		case asks(m):
			requests = append(requests, m)
			continue
		case m.GetTo() == raft.LocalAppendThread:
			toLog = m
		}
		others = append(others, m)
	}
	if toLog == nil { // the term was handed over before: these wait behind it
		toLog = &raftpb.Message{
			Type: raftpb.MsgStorageAppend.Enum(), From: new(l.self), To: new(uint64(raft.LocalAppendThread)),
		}
		others = append(others, toLog)
	}
	toLog.Responses = slices.Concat(toLog.GetResponses(), requests)
	return others
}

// dispatch sends a message where it belongs. Those to peers come first in a Ready: they travel while the log is
// written.
func (l *loop) dispatch(m *raftpb.Message) {
	switch m.GetTo() {
	case raft.LocalAppendThread:
		l.appending(m)
		l.writer.append(m)
	case raft.LocalApplyThread:
		l.applier.apply(m)
	default:
		switch m.GetType() {
		case raftpb.MsgSnap:
			l.outgoing.Send(m)
		case raftpb.MsgApp:
			if l.ahead.holds(l, m) {
				return // it is sent anew
			}
			l.remind(m)
			l.peers.Send(m)
		case raftpb.MsgHeartbeat:
			l.door.sends(m)
			l.peers.Send(m)
		case raftpb.MsgPreVote:
			if !l.unfit.hides(l) && !l.agreed.hides(l) { // who does not hear of it does not elect this node
				l.peers.Send(m)
			}
		default:
			l.peers.Send(m)
		}
	}
}

// appending notes what goes to the log: which snapshot is taken, where a term begins, where the proposals of this turn
// are.
func (l *loop) appending(m *raftpb.Message) {
	if m.GetSnapshot() != nil {
		l.installing = m.GetSnapshot().GetData()
		l.adopted = m.GetSnapshot().GetMetadata().GetIndex()
		l.handed = l.adopted
	}
	if n := len(m.GetEntries()); n > 0 {
		l.handed = m.GetEntries()[n-1].GetIndex()
	}
	if l.leading && l.start == 0 {
		for _, e := range m.GetEntries() {
			if e.GetTerm() == l.term {
				l.start = e.GetIndex()
				break
			}
		}
	}
	if n := len(m.GetEntries()); l.leading && n > 0 {
		l.beginSample(m.GetEntries()[n-1].GetIndex())
	}
	l.answerProposals(m.GetEntries())
}

// discardUnused lets go of checkpoints that raft was told of in this turn and did not take: it had better ones.
func (l *loop) discardUnused() {
	for _, s := range l.offered {
		if string(s.GetData()) != string(l.installing) {
			l.incoming.Discard(s.GetData())
		}
	}
	l.offered, l.installing = emptied(l.offered), nil
}

// observe publishes a change of term, leader or commit, and tells the applier of a change of role in order with the
// entries.
func (l *loop) observe(rd *raft.Ready) {
	term, leader, leading := l.term, l.leader, l.leading
	if !raft.IsEmptyHardState(rd.HardState) {
		term = rd.HardState.GetTerm()
		l.commit = rd.HardState.GetCommit()
		l.view.commit.Store(l.commit)
	}
	if rd.SoftState != nil {
		leader, leading = rd.SoftState.Lead, rd.SoftState.RaftState == raft.StateLeader
	}
	if term == l.term && leader == l.leader && leading == l.leading {
		return
	}
	if leader != l.leader && leader != raft.None {
		l.view.leaders.Add(1)
	}
	if leading != l.leading || leader != l.leader {
		l.log.Info("leader", "term", term, "leader", peers.NameIn(l.directory, leader), "self", leading)
	}
	if !leading || !l.leading || term != l.term {
		l.start, l.door.asked = 0, 0
		clear(l.lost)
		clear(l.ahead)
		l.outgoing.Retain(nil) // nobody takes a snapshot of a term that is over
	}
	if leading && (!l.leading || term != l.term) {
		l.led = l.clock.Now()
		l.view.heard.Store(l.led.UnixNano()) // a majority voted for it
	}
	was := role{term: l.term, leader: l.leader, leading: l.leading}
	l.term, l.leader, l.leading = term, leader, leading
	l.view.term.Store(term)
	l.view.leader.Store(leader)
	l.view.leading.Store(leading)
	is := role{term: term, leader: leader, leading: leading}
	if is.leading || was.leading || is.leader != was.leader {
		l.applier.changeRole(is)
	}
	l.reads.requeue()
}
