package raftgroup

import (
	"go.etcd.io/raft/v3"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

const (
	// unfitRestElections is how many election timeouts lie between two times that a leader that must not lead gives
	// leadership away.
	unfitRestElections = 2
	// unfitPatienceElections is for how many election timeouts nobody leads before a node that must not lead stands for
	// an election: those that may have stood by then.
	unfitPatienceElections = 5
	// hungElections is after how many election timeouts of one step a machine hangs. What takes as long on all nodes,
	// as a single command that does very much, has it hang on all of them alike, and leadership stays where it is.
	hungElections = 3
)

// unfit is what the loop does about a node that must not lead: by the word of the owner of the group, or because its
// machine has not finished one step for so long that nobody whom it leads is answered; counted in ticks, so that a
// process that stood still as a whole has no machine that hangs. Such a node follows and votes as any other: what it
// must not be trusted with is its state, and not its log. So raft goes on as ever, but for this:
//
//   - Nobody hears that it stands for an election, unless nobody has led for so long that it is known that none of the
//     others can: they are gone, or the log of each of them that is not lacks what this one's has.
//   - Nobody makes it stand for one at once.
//   - If it leads it hands leadership over as soon as another one has all that is committed, to one that is not known
//     to be unfit itself. A node that is the only voter leads on: there is nobody else.
type unfit struct {
	is    func(id uint64) bool // may be nil
	alone int                  // ticks without a leader
	rest  int                  // ticks until leadership is given away again
	tried map[uint64]bool

	step  uint64 // of the machine, at the last tick
	ticks int    // since it was first seen
	hung  uint64 // this node, while its machine hangs; 0: it does not
}

// known reports whether a member must not lead, as far as it is known here.
func (u *unfit) known(id uint64) bool { return u.hung == id || u.is != nil && u.is(id) }

// watch looks at the machine, once in a tick.
func (u *unfit) watch(l *loop) {
	step := l.applier.applying()
	if step != 0 && step == u.step {
		u.ticks++
	} else {
		if u.hung != 0 {
			l.log.Warn("the machine of this node goes on", "after", l.ofTicks(u.ticks))
		}
		u.step, u.ticks, u.hung = step, 0, 0
	}
	if u.ticks < hungElections*l.electionTicks {
		l.view.hung.Store(0)
		return
	}
	l.view.hung.Store(int64(l.ofTicks(u.ticks)))
	if u.hung == 0 {
		u.hung = l.self
		l.log.Warn("the machine of this node has not finished a step; until it has, the node leads nobody who can do "+
			"without it", "for", l.ofTicks(u.ticks), "leads", l.leading)
	}
}

// mayBeAll reports whether the machines of the others may hang as this one does, and that is not known there yet: what
// they apply comes to them a little later. They refuse to lead once it is.
func (u *unfit) mayBeAll(l *loop) bool {
	return u.hung != 0 && u.ticks < (hungElections+1)*l.electionTicks && (u.is == nil || !u.is(l.self))
}

// hides reports whether nobody is to hear that this node stands for an election.
func (u *unfit) hides(l *loop) bool {
	return u.alone < unfitPatienceElections*l.electionTicks && u.known(l.self)
}

// tick hands leadership over, to each of the others in turn.
func (u *unfit) tick(l *loop) {
	u.watch(l)
	u.rest = max(u.rest-1, 0)
	if u.alone++; l.leader != raft.None {
		u.alone = 0
	}
	if !l.leading || u.rest > 0 || !u.known(l.self) || u.mayBeAll(l) {
		return
	}
	to := l.successor(max(l.commit, 1)-1, u.tried)
	if to == 0 {
		if len(u.tried) > 0 { // each was, and none took it: proposals wait for each try
			u.tried, u.rest = nil, starvingRestElections*l.electionTicks
		}
		return
	}
	if u.tried == nil {
		u.tried = make(map[uint64]bool)
	}
	u.tried[to], u.rest = true, unfitRestElections*l.electionTicks
	l.log.Warn("this node must not lead: handing leadership over", "to", peers.NameIn(l.directory, to))
	l.node.TransferLeader(to)
}
