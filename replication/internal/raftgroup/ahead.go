package raftgroup

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// endContextBytes is what a leader adds to an append for a member that has committed more than this leader has: that
// entry, and where the leader's log ends. Members of former versions do not look at it.
const endContextBytes = 16

// ahead is a member that is said to have committed an entry beyond the end of this leader's log. Anybody who gets at a
// stream can say that in its name; so it is asked, where it is known to be, before it is believed.
type ahead struct {
	index  uint64 // of the entry
	known  bool   // the member stands by it
	asking bool
	asked  time.Time // when it was asked last
}

// aheads are the members that have committed an entry beyond the end of this leader's log, by ID. A leader has
// everything that was ever committed, unless the disks of a majority went back in time: then this region has two
// histories, and raft, which compares terms and indexes, may even take them for one.
//
//   - What such a member acknowledges is not given to raft: it does not have what this leader wrote at those indexes.
//   - It is told where the log of its leader ends, so that it can see for itself, and stop: it must not answer from
//     another history than its region's. What it has stays on its disk.
//   - Before it has answered it is sent no entries: so, if its log reaches as far as was said, it has them from
//     elsewhere. If it does not, it is taken as before, and is sent anew what it lacks.
type aheads map[uint64]*ahead

// outran takes an acknowledgement of what this leader never had, and then every other of that member; false if raft is
// to have it.
func (l *loop) outran(m *raftpb.Message) bool {
	s := l.node.BasicStatus()
	if s.RaftState != raft.StateLeader || m.GetTerm() != s.HardState.GetTerm() {
		return false
	}
	a := l.ahead[m.GetFrom()]
	if a == nil {
		if m.GetReject() || m.GetIndex() <= l.handed {
			return false
		}
		a = &ahead{index: m.GetIndex()}
		l.ahead[m.GetFrom()] = a
	}
	a.ask(l, m.GetFrom())
	return true
}

// ask asks the member whether it has the entry, unless that is known, or was asked just now.
func (a *ahead) ask(l *loop, member uint64) {
	d := &l.doubts
	switch now := l.clock.Now(); {
	case a.known || a.asking || !a.asked.IsZero() && now.Sub(a.asked) < askAgain:
		return
	case d.ask == nil:
		a.settle(l, member, Account{}, nil)
		return
	default:
		a.asking, a.asked = true, now
	}
	if !d.life.Spawn(func() {
		account, err := d.ask(d.life.Context(), member, a.index)
		d.mail.call(func(l *loop) { a.settle(l, member, account, err) })
	}) {
		a.asking = false
	}
}

// settle takes the answer. One of a version that does not say how far its log reaches is believed as it came.
func (a *ahead) settle(l *loop, member uint64, account Account, err error) {
	a.asking = false
	switch name := peers.NameIn(l.directory, member); {
	case l.ahead[member] != a: // this node does not lead that term any more
	case err != nil:
		l.log.Warn("a member was not reached that is said to have committed what its leader has not; it is asked "+
			"again, and sent no entries before it has answered", "member", name, "committed", a.index, "err", err)
	case account.Whole && account.Ends < a.index:
		delete(l.ahead, member)
		l.log.Error("somebody speaks in the name of a member: it is said to have committed what its leader has not, "+
			"and, asked, has not", "member", name, "committed", a.index, "has", account.Ends)
	default:
		a.known = true
		l.log.Error("a member has committed what its leader has not: disks of this region went back in time, and it "+
			"has two histories; the member stops itself, and its directory may hold writes that the region has lost",
			"member", name, "committed", a.index, "leader", l.handed)
	}
}

// holds reports whether an append is not to leave: its receiver is asked what it has, and again if it was not reached.
// A member that gets no entries acknowledges none, so nothing else would ask again.
func (a aheads) holds(l *loop, m *raftpb.Message) bool {
	to := a[m.GetTo()]
	if to == nil || to.known || len(m.GetEntries()) == 0 {
		return false
	}
	to.ask(l, m.GetTo())
	return true
}

// committed returns the entry that a member is known to have committed, and this leader has not; zero if there is none.
func (a aheads) committed(member uint64) uint64 {
	if to := a[member]; to != nil && to.known {
		return to.index
	}
	return 0
}

// context says to a member that is ahead where the log of its leader ends; nil for others.
func (a aheads) context(member, ends uint64) []byte {
	to, ok := a[member]
	if !ok {
		return nil
	}
	context := binary.LittleEndian.AppendUint64(make([]byte, 0, endContextBytes), to.index)
	return binary.LittleEndian.AppendUint64(context, ends)
}

// checkLeader compares what this node has committed with its leader's log: with where it ends, and with the entry that
// the leader's append follows. What is applied is durable and committed, so a leader has the same there. It returns
// what is said of that, nil if all is well.
func (l *loop) checkLeader(m *raftpb.Message) *word {
	const keep = "disks of this region went back in time; keep the directory of this node, it may hold writes that " +
		"the region has lost, and do not start it again as it is"
	applied := l.view.applied.Load()
	if at := m.GetIndex(); at > l.adopted && at <= applied {
		if term, err := l.end.Term(at); err == nil && term != m.GetLogTerm() {
			return disagreement(l, m.GetFrom(), at, fmt.Errorf("%w: it has committed entry %d of term %d, which in "+
				"the log of its leader %s is of term %d: %s",
				ErrRegionLost, at, term, peers.NameIn(l.directory, m.GetFrom()), m.GetLogTerm(), keep))
		}
	}
	if len(m.GetContext()) != endContextBytes {
		return nil
	}
	ends := binary.LittleEndian.Uint64(m.GetContext()[8:])
	if l.commit <= ends {
		return nil
	}
	return disagreement(l, m.GetFrom(), applied, fmt.Errorf("%w: it has committed entry %d, and the log of its "+
		"leader %s ends at entry %d: %s", ErrRegionLost, l.commit, peers.NameIn(l.directory, m.GetFrom()), ends, keep))
}

// disagreement is the word of a leader which has not what this node has committed, at an applied entry or at all.
func disagreement(l *loop, leader, at uint64, err error) *word {
	committed, adopted := l.commit, l.adopted
	term, _ := l.end.Term(at) // zero if it is not there any more
	return &word{by: leader, at: at, err: err, stands: func(a Account) bool {
		other := at > adopted && a.Term != 0 && term != 0 && a.Term != term
		told := a.Ahead != 0 && a.Ahead <= committed // by this node; its log may have grown since
		return !a.Whole || a.Leads != 0 && (a.Ends < committed || told || other)
	}}
}
