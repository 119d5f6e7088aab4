package raftgroup

import (
	"slices"

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
	// slowElections is the longest that a step takes of a machine that is slow and does not hang, and longestElections
	// for how long it is remembered, as that others are as slow is.
	slowElections, longestElections = 12, 300
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

	step    uint64 // of the machine, at the last tick
	ticks   int    // since it was first seen
	hung    uint64 // this node, while its machine hangs; 0: it does not
	longest longest
	gave    int // ticks for which it counts that this node handed leadership over since its machine hung
	round   int // ticks for which it counts that leadership came back to this node, or that none took it
}

// longest is how long the longest step took that came to its end lately, in ticks, of those that did not hang.
type longest struct{ now, before, age int }

func (s *longest) ended(ticks, most int) {
	if ticks <= most {
		s.now = max(s.now, ticks)
	}
}

// tick forgets what was before the last span of time, which lasts so many ticks.
func (s *longest) tick(lasts int) {
	if s.age++; s.age >= lasts {
		s.now, s.before, s.age = 0, s.now, 0
	}
}

func (s *longest) ticks() int { return max(s.now, s.before) }

// known reports whether a member must not lead, as far as it is known here.
func (u *unfit) known(id uint64) bool { return u.hung == id || u.is != nil && u.is(id) }

// watch looks at the machine, once in a tick.
func (u *unfit) watch(l *loop) {
	u.longest.tick(longestElections * l.electionTicks)
	u.round, u.gave = max(u.round-1, 0), max(u.gave-1, 0)
	if step := l.applier.applying(); step != 0 && step == u.step {
		u.ticks++
	} else {
		u.ended(l)
		u.step, u.ticks, u.hung = step, 0, 0
	}
	if u.ticks < hungElections*l.electionTicks {
		l.view.hung.Store(0)
		return
	}
	l.view.hung.Store(int64(l.ofTicks(u.ticks)))
	if u.hung == 0 {
		u.hung = l.self
		l.log.Warn("the machine of this node has not finished a step"+meaning(l.self, l.view.conf.Load().GetVoters()),
			"for", l.ofTicks(u.ticks), "leads", l.leading)
	}
}

// meaning says what comes of it that the machine of a node hangs: nothing where it cannot lead, or nobody else can.
func meaning(self uint64, voters []uint64) string {
	if len(voters) < 2 || !slices.Contains(voters, self) {
		return ""
	}
	return "; until it has, the node leads nobody who can do without it"
}

// declines reports whether this node, told to take over, does not, and says why. Where its machine hangs, or did when
// it handed leadership over itself, others are as slow. Any other handing over says nothing of them.
func (u *unfit) declines(l *loop) bool {
	if u.hung == l.self || u.gave > 0 {
		u.round = longestElections * l.electionTicks
	}
	switch {
	case u.hung == l.self:
		l.log.Warn("this node does not take leadership over: its machine has not finished a step", "for",
			l.ofTicks(u.ticks))
	case u.known(l.self):
		l.log.Warn("this node does not take leadership over: it must not lead")
	default:
		return false
	}
	return true
}

// ended takes note that a step of the machine came to its end. The next one that hangs is another story.
func (u *unfit) ended(l *loop) {
	u.longest.ended(u.ticks, slowElections*l.electionTicks)
	if u.hung == 0 {
		return
	}
	if u.round > 0 && u.ticks <= slowElections*l.electionTicks { // it was well to wait
		u.round = longestElections * l.electionTicks
	}
	l.log.Warn("the machine of this node goes on", "after", l.ofTicks(u.ticks))
	if u.is == nil || !u.is(l.self) {
		u.tried, u.rest = nil, 0
	}
}

// waits reports whether leadership stays for now with a node whose machine hangs: those of the others may hang as it
// does, and that is not known there yet, since what they apply comes to them a little later; they refuse to lead once
// it is. And where steps took long and came to their end this one may as well, if others are as slow: storages that are
// slow everywhere would hand leadership around. That they are shows where it was handed back to this node, or to it
// while its machine hangs, or none took it.
func (u *unfit) waits(l *loop) bool {
	patience := (hungElections + 1) * l.electionTicks
	if u.round > 0 {
		patience = min(max(patience, 2*u.longest.ticks()), slowElections*l.electionTicks)
	}
	return u.hung != 0 && u.ticks < patience && (u.is == nil || !u.is(l.self))
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
	if !l.leading {
		u.tried, u.rest = nil, 0
		return
	}
	if u.rest > 0 || !u.known(l.self) || u.waits(l) {
		return
	}
	to := l.successor(max(l.commit, 1)-1, u.tried)
	if to == 0 {
		if len(u.tried) > 0 { // each was, and none took it: proposals wait for each try
			u.tried, u.rest, u.round = nil, starvingRestElections*l.electionTicks, longestElections*l.electionTicks
		}
		return
	}
	if u.tried == nil {
		u.tried = make(map[uint64]bool)
	}
	u.tried[to], u.rest = true, unfitRestElections*l.electionTicks
	if u.hung != 0 {
		u.gave = longestElections * l.electionTicks
	}
	l.log.Warn("this node must not lead: handing leadership over", "to", peers.NameIn(l.directory, to))
	l.node.TransferLeader(to)
}
