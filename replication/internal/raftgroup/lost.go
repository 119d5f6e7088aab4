package raftgroup

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// lostAfterRejects is how often a member has to refuse what it acknowledged until the leader says so: one refusal may
// have been on its way for long.
const lostAfterRejects = 3

// matchContextBytes is what a leader adds to an append for a member that seems to have lost entries: the last one that
// it acknowledged. Members of former versions do not look at it.
const matchContextBytes = 8

// logEnd is what the loop knows of the log of this node.
type logEnd interface {
	LastIndex() uint64
	// Term returns the term of an entry; an error if it is not there any more.
	Term(index uint64) (uint64, error)
}

// forgetful is a member that refuses entries it had acknowledged, on a leader.
type forgetful struct {
	acknowledged uint64
	rejects      int
}

// forgetfuls are all of them, by ID. A disk that lost what it had reported as synced makes one, or whoever put an old
// copy in its place.
//
//   - A refusal of what was acknowledged is not given to raft: it can make nothing of it but to send the same again,
//     and so the two would go on as fast as the network lets them. A member that is probed is asked once a heartbeat.
//   - What is sent to such a member says what it had acknowledged, so that it can see for itself, and stop.
type forgetfuls map[uint64]*forgetful

// refused takes a refusal of an append; false if raft is to have it.
func (l *loop) refused(m *raftpb.Message) bool {
	s := l.node.BasicStatus()
	if s.RaftState != raft.StateLeader || m.GetTerm() != s.HardState.GetTerm() {
		return false
	}
	match := l.matchOf(m.GetFrom())
	if m.GetIndex() > match {
		return false
	}
	if m.GetRejectHint() >= match {
		return true // it has them: this was said before it did
	}
	f := l.lost[m.GetFrom()]
	if f == nil {
		f = new(forgetful)
		l.lost[m.GetFrom()] = f
	}
	f.acknowledged = match
	if f.rejects++; f.rejects == lostAfterRejects {
		l.log.Error("a member lost entries that it had acknowledged: its disk forgot them, or is an old copy; "+
			"remove it and add it anew", "member", peers.NameIn(l.directory, m.GetFrom()), "acknowledged", match,
			"has", m.GetRejectHint())
	}
	return true
}

// acknowledged takes note that a member has entries.
func (l *loop) acknowledged(m *raftpb.Message) {
	if f := l.lost[m.GetFrom()]; f != nil && m.GetIndex() >= f.acknowledged {
		delete(l.lost, m.GetFrom())
	}
}

// remind adds to an append what its receiver acknowledged, if it seems to have forgotten, or where this log ends, if it
// has more.
func (l *loop) remind(m *raftpb.Message) {
	if !l.leading {
		return
	}
	if m.Context = l.ahead.context(m.GetTo(), l.handed); m.Context != nil {
		return
	}
	if f := l.lost[m.GetTo()]; f != nil {
		m.Context = binary.LittleEndian.AppendUint64(make([]byte, 0, matchContextBytes), f.acknowledged)
	}
}

// matchOf returns the last entry that a member acknowledged to this leader.
func (l *loop) matchOf(id uint64) (match uint64) {
	l.node.WithProgress(func(member uint64, _ raft.ProgressType, pr tracker.Progress) {
		if member == id {
			match = pr.Match
		}
	})
	return match
}

// checkOwnLog compares this node's log with what its leader knows it to have: a commit index in a heartbeat is of
// entries that this node acknowledged. Only what is durable is acknowledged, so what the log lacks of it was lost.
// Whoever lost entries has lost votes too, and may do harm if it takes part. It returns what is said of that, nil if
// all is well.
func (l *loop) checkOwnLog(m *raftpb.Message) *word {
	var known uint64
	switch {
	case m.GetTerm() < l.node.BasicStatus().HardState.GetTerm():
		return nil // no longer a leader
	case m.GetType() == raftpb.MsgHeartbeat:
		known = m.GetCommit()
	case m.GetType() == raftpb.MsgApp && len(m.GetContext()) == matchContextBytes:
		known = binary.LittleEndian.Uint64(m.GetContext())
	case m.GetType() == raftpb.MsgApp:
		return l.checkLeader(m)
	}
	last := l.end.LastIndex()
	if known <= last {
		return nil
	}
	term := m.GetTerm() // this node may be terms behind it, and does not take it before it is answered
	stands := func(a Account) bool { return a.Match > l.end.LastIndex() && (!a.Whole || a.Leads >= term) }
	return &word{by: m.GetFrom(), stands: stands, err: fmt.Errorf(
		"%w: it ends at entry %d, and node %s knows that this one had entry %d on its disk: the disk "+
			"forgot it, or is an old copy; remove this node and add it anew",
		ErrAcknowledgedLost, last, peers.NameIn(l.directory, m.GetFrom()), known)}
}
