package raftgroup

import (
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// agreedPatienceElections is for how many election timeouts nobody leads before it is told that this node kept a vote
// back.
const agreedPatienceElections = 10

// leapTerms is how many terms there may have been which no member that is heard remembers.
const leapTerms = 1 << 16

// agreed is what the members are known to have agreed on, by the word of one of them, though it may not be in the log
// of this node. Whoever is elected has everything that was ever agreed on, unless a disk lost what it had synced: then
// two that lack it may elect one of them. So this node votes for nobody who lacks it, and nobody hears that it stands
// itself while it does. While no disk lost anything, neither keeps anybody from being elected.
//
//   - What was agreed on last is known to be so by no disk: a member that lost its power says less. So at first, for a
//     time that the owner bounds, nobody is helped who lacks what the log of any member has that was heard; and nobody
//     at all as long as a voter was not heard that may have more.
//   - All of this ends once this node follows a leader, or leads, that agreed on an entry of its own term which is no
//     earlier than what this node was told of: whatever there was is before that entry, or is over. What is said later
//     is not taken: who was told at its own start sees to it.
//   - Where the members went on without it all the same, before this node knew, that is over too: what they agreed on
//     in a later term, at a smaller index, says that it is no part of their history, and nobody who has it can be
//     elected.
//   - Who has agreed on another entry in the place of one of this node's is of another history, and is not voted for,
//     however long its log and late its term.
//
// It lasts as long as the process; what its owner remembers of it is there again at the next start.
type agreed struct {
	upTo    func() (index, term uint64)               // 0 of what is not known; may be nil
	perhaps func() (index, term uint64)               // likewise
	awaits  func(voters []uint64) (awaits, over bool) // may be nil
	parted  func(id uint64) bool                      // may be nil

	began uint64 // the term at the start

	settled bool // it has, or will be sent, all that was agreed on before it started

	since time.Time // when a vote was first kept back, since somebody led last; zero: none was
	told  bool
}

func newAgreed(c *Config, term uint64) agreed {
	return agreed{upTo: c.Agreed, perhaps: c.Perhaps, awaits: c.Awaits, parted: c.Parted, began: term}
}

// keeps reports whether this node does not answer a question for its vote, or for that it would give.
func (a *agreed) keeps(l *loop, m *raftpb.Message) bool {
	if a.parted != nil && a.parted(m.GetFrom()) || a.waits(l) {
		return true
	}
	index, term := a.known(l)
	if m.GetIndex() >= index && m.GetLogTerm() >= term {
		return a.outreached(m.GetIndex(), m.GetLogTerm())
	}
	a.tell(l, m.GetFrom(), m.GetIndex(), index)
	return true
}

// waits reports whether a voter was not heard yet that may have more than all others.
func (a *agreed) waits(l *loop) bool {
	if a.settled || a.awaits == nil {
		return false
	}
	conf := l.view.conf.Load()
	now, _ := a.awaits(conf.GetVoters())
	before, _ := a.awaits(conf.GetVotersOutgoing())
	return now || before
}

// leap has this node go to a later term before it helps anybody to lead while a voter was not heard, and is not waited
// for any more. If that one agreed with a disk that lost it, the group is about to begin a second history: that is of a
// later term than the first one then. In one that had been led before, raft would take entries of both for the same.
// Of a later term, whoever comes with the first one finds out.
func (a *agreed) leap(l *loop) {
	if a.settled || a.awaits == nil || l.leader != raft.None {
		return
	}
	term := l.node.BasicStatus().HardState.GetTerm()
	if _, over := a.awaits(l.view.conf.Load().GetVoters()); !over || term >= a.began+leapTerms {
		return
	}
	l.log.Warn("goes on without having heard of all voters, in a term that none of them can have seen", "term",
		term+leapTerms)
	_ = l.node.Step(&raftpb.Message{ // refused of who is no member
		Type: raftpb.MsgVoteResp.Enum(), From: new(l.self), To: new(l.self), Term: new(term + leapTerms),
		Reject: new(true),
	})
}

// outreached reports whether a log that ends with this entry lacks what another one has that may be agreed on.
func (a *agreed) outreached(index, term uint64) bool {
	if a.settled || a.perhaps == nil {
		return false
	}
	last, of := a.perhaps()
	return term < of || term == of && index < last
}

// tell says, once, that nobody leads for long, and why: the candidate, which may be this node itself, has too little.
func (a *agreed) tell(l *loop, candidate, has, index uint64) {
	if a.since.IsZero() {
		a.since = l.clock.Now()
	}
	late := l.clock.Now().Sub(a.since) > time.Duration(agreedPatienceElections*l.electionTicks)*l.tickInterval
	if !late || a.told {
		return
	}
	a.told = true
	const way = "start the member that has it; only if it is gone for good: stop this node, take away the file HEARD " +
		"of its data directory, and start it again while that one is down, and so with each node that says this: " +
		"what that one had alone is lost"
	name := peers.NameIn(l.directory, candidate)
	l.view.kept.Store(new(fmt.Sprintf("nobody leads its region, and it votes for nobody who lacks entry %d, which a "+
		"member said is agreed on (%s has %d): disks of this region went back in time; %s", index, name, has, way)))
	l.log.Error("nobody leads, and this node votes for nobody who lacks what a member said is agreed on: disks of "+
		"this region went back in time", "agreed", index, "candidate", name, "has", has, "way", way)
}

// hides reports whether nobody is to hear that this node stands for an election.
func (a *agreed) hides(l *loop) bool {
	if a.waits(l) {
		return true
	}
	index, term := a.known(l)
	last, err := l.end.Term(l.handed) // an error: the writer has it still
	if l.handed >= index && (err != nil || last >= term) {
		return err == nil && a.outreached(l.handed, last)
	}
	a.tell(l, l.self, l.handed, index)
	return true
}

// known returns the entry that somebody must have who is helped to lead, and its term; zero if there is none.
func (a *agreed) known(l *loop) (index, term uint64) {
	if a.upTo == nil || a.settled {
		return 0, 0
	}
	index, term = a.upTo()
	applied := l.view.applied.Load()
	if at, err := l.end.Term(applied); err == nil && term != 0 && at > term && applied < index {
		return 0, 0
	}
	return index, term
}

// tick takes note that somebody leads, and of whether that is settled.
func (a *agreed) tick(l *loop) {
	if l.leader == raft.None {
		return
	}
	if a.since, a.told = (time.Time{}), false; l.view.kept.Load() != nil {
		l.view.kept.Store(nil)
	}
	if term, err := l.end.Term(l.commit); !a.settled && err == nil && term == l.term {
		var index, of uint64
		if a.upTo != nil {
			index, of = a.upTo()
		}
		a.settled = of <= l.term && (l.commit >= index || of != 0 && of < l.term)
	}
}
