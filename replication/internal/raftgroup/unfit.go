package raftgroup

import "github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"

// unfitRestElections is how many election timeouts lie between two times that a leader that must not lead gives
// leadership away.
const unfitRestElections = 2

// unfit is what the loop does about a node that must not lead. Such a node follows and votes as any other: what it must
// not be trusted with is its state, and not its log. So raft goes on as ever, but for this: nobody hears that it stands
// for an election, nobody makes it stand for one at once, and if it leads it hands leadership over. A node that is the
// only voter leads on: there is nobody else.
type unfit struct {
	is    func() bool // may be nil
	rest  int         // ticks until leadership is given away again
	tried map[uint64]bool
}

// now reports whether this node must not lead.
func (u *unfit) now() bool { return u.is != nil && u.is() }

// tick hands leadership over, to each of the others in turn.
func (u *unfit) tick(l *loop) {
	u.rest = max(u.rest-1, 0)
	if !l.leading || u.rest > 0 || !u.now() {
		return
	}
	to := l.successor(max(l.commit, 1)-1, u.tried)
	if to == 0 {
		u.tried = nil
		return
	}
	if u.tried == nil {
		u.tried = make(map[uint64]bool)
	}
	u.tried[to], u.rest = true, unfitRestElections*l.electionTicks
	l.log.Warn("this node must not lead: handing leadership over", "to", peers.NameIn(l.directory, to))
	l.node.TransferLeader(to)
}
