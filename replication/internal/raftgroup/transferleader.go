package raftgroup

import (
	"fmt"
	"time"
)

// leaderTransfer is somebody who waits for another leader.
type leaderTransfer struct {
	to    uint64
	term  uint64     // in which it began
	reply chan error // takes one answer
}

// transfer asks raft to hand leadership over, if that can be. Others may wait already, for the same or for another:
// raft goes by whoever came last, and checkTransfers tells the rest.
func (l *loop) transfer(t *leaderTransfer) {
	switch _, voter := l.node.Status().Config.Voters.IDs()[t.to]; {
	case !l.leading:
		t.reply <- fmt.Errorf("%w: leader is %d", ErrNotLeader, l.leader)
	case t.to == l.self:
		t.reply <- nil
	case !voter:
		t.reply <- fmt.Errorf("%w: %d is not a voter", ErrTransfer, t.to)
	case l.unfit.known(t.to):
		t.reply <- fmt.Errorf("%w: %d must not lead", ErrTransfer, t.to)
	case t.gone(l):
		t.reply <- t.unreachable()
	default:
		t.term = l.term
		l.node.TransferLeader(t.to)
		l.transfers = append(l.transfers, t)
	}
}

// gone reports whether what was sent to the other was lost since it was heard last, and it has been silent for half an
// election timeout: one stream may break, or overflow, while another goes on.
func (t *leaderTransfer) gone(l *loop) bool {
	heard := l.heard[t.to]
	if heard.Before(l.led) {
		heard = l.led // who leads anew has not heard everybody yet
	}
	silent := l.clock.Now().Sub(heard) > time.Duration(l.electionTicks)*l.tickInterval/2
	return silent && l.broke[t.to].After(heard)
}

func (t *leaderTransfer) unreachable() error {
	return fmt.Errorf("%w: %d cannot be reached", ErrTransfer, t.to)
}

// checkTransfers answers those whose transfer came to an end. A leader that stepped down waits until it knows for whom,
// unless it did so since no majority answers: then it is for nobody.
func (l *loop) checkTransfers() {
	if len(l.transfers) == 0 {
		return
	}
	under := l.node.BasicStatus().LeadTransferee
	waiting := l.transfers[:0]
	for _, t := range l.transfers {
		switch {
		case l.leader == t.to:
			t.reply <- nil
		case l.leading && t.gone(l):
			t.reply <- t.unreachable()
		case l.leading && under != t.to:
			t.reply <- fmt.Errorf("%w: %d did not take over in time: if its disk or its storage hangs, its log says so",
				ErrTransfer, t.to)
		case !l.leading && l.leader != 0:
			t.reply <- fmt.Errorf("%w: %d leads", ErrTransfer, l.leader)
		case !l.leading && l.term == t.term:
			t.reply <- fmt.Errorf("%w: no majority answers, %d included", ErrTransfer, t.to)
		default:
			waiting = append(waiting, t)
		}
	}
	clear(l.transfers[len(waiting):])
	l.transfers = waiting
}
