package raftgroup

import "github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"

// starvingRestElections is how many election timeouts lie between two times that a leader whose machine finds no room
// gives leadership away: where nobody has room it would go round and round.
const starvingRestElections = 10

// starving is what the loop knows of a machine that waits for room on the disk. Nothing is applied then, and so nobody
// is answered whom this node leads; it hands leadership over, to each of the others once.
type starving struct {
	room  *Room // nil: there always is
	rest  int   // ticks until it is looked at again
	tried map[uint64]bool
}

func (s *starving) tick(l *loop) {
	s.rest = max(s.rest-1, 0)
	took := s.room.Lasts()
	if took == 0 {
		s.tried = nil
	}
	if !l.leading || s.rest > 0 || took < l.ofTicks(l.electionTicks) {
		return
	}
	to := l.successor(max(l.commit, 1)-1, s.tried)
	if to == 0 {
		return
	}
	if s.tried == nil {
		s.tried = make(map[uint64]bool)
	}
	s.tried[to], s.rest = true, starvingRestElections*l.electionTicks
	l.log.Warn("nothing is applied here while the disk is full: handing leadership over", "for", took,
		"to", peers.NameIn(l.directory, to))
	l.node.TransferLeader(to)
}
