package raftgroup

import (
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// agreedPatienceElections is for how many election timeouts nobody leads before it is told that this node kept a vote
// back.
const agreedPatienceElections = 10

// agreed is what the members are known to have agreed on, by the word of one of them, though it may not be in the log
// of this node. Whoever is elected has everything that was ever agreed on, unless a disk lost what it had synced: then
// two that lack it may elect one of them. So this node votes for nobody who lacks it, and nobody hears that it stands
// itself while it does. While no disk lost anything, neither keeps anybody from being elected.
//
// Where the members went on without it all the same, before this node knew, that is over: what they agreed on in a
// later term, at a smaller index, says that it is no part of their history, and nobody who has it can be elected.
//
// It lasts as long as the process: who starts again asks again, of those that are left.
type agreed struct {
	upTo  func() (index, term uint64) // 0 of what is not known; may be nil
	since time.Time                   // when a vote was first kept back, since somebody led last; zero: none was
	told  bool
}

// keeps reports whether this node does not answer a question for its vote, or for that it would give.
func (a *agreed) keeps(l *loop, m *raftpb.Message) bool {
	index, term := a.known(l)
	if m.GetIndex() >= index && m.GetLogTerm() >= term {
		return false
	}
	a.tell(l, m.GetFrom(), m.GetIndex(), index)
	return true
}

// tell says, once, that nobody leads for long, and why: the candidate, which may be this node itself, has too little.
func (a *agreed) tell(l *loop, candidate, has, index uint64) {
	if a.since.IsZero() {
		a.since = l.clock.Now()
	}
	late := l.clock.Now().Sub(a.since) > time.Duration(agreedPatienceElections*l.electionTicks)*l.tickInterval
	if late && !a.told {
		a.told = true
		l.log.Error("nobody leads, and this node votes for nobody who lacks what a member said is agreed on: disks of "+
			"this region went back in time. Start the member that has it; only if it is gone for good: start this "+
			"node again while that one is down, and what it had alone is lost",
			"agreed", index, "candidate", peers.NameIn(l.directory, candidate), "has", has)
	}
}

// hides reports whether nobody is to hear that this node stands for an election.
func (a *agreed) hides(l *loop) bool {
	index, term := a.known(l)
	last, err := l.end.Term(l.handed) // an error: the writer has it still
	if l.handed >= index && (err != nil || last >= term) {
		return false
	}
	a.tell(l, l.self, l.handed, index)
	return true
}

// known returns the entry that somebody must have who is helped to lead, and its term; zero if there is none.
func (a *agreed) known(l *loop) (index, term uint64) {
	if a.upTo == nil {
		return 0, 0
	}
	index, term = a.upTo()
	applied := l.view.applied.Load()
	if at, err := l.end.Term(applied); err == nil && term != 0 && at > term && applied < index {
		return 0, 0
	}
	return index, term
}

// tick takes note that somebody leads.
func (a *agreed) tick(l *loop) {
	if l.leader != raft.None {
		a.since, a.told = time.Time{}, false
	}
}
