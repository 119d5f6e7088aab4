package raftgroup

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// memberWait is somebody who waits for a membership change to be applied.
type memberWait struct {
	change      *raftpb.ConfChangeV2
	index, term uint64     // where the change is, once it is in the log
	joint       bool       // applied, but the joint configuration has still to be left
	reply       chan error // takes one answer
}

// memberWaits are all who wait, each for an entry that is in the log and was not applied when they came. Each is
// answered once: at the latest when something else is applied at the index of its change, or a whole state takes the
// place of this one.
type memberWaits []*memberWait

func (ws *memberWaits) add(w *memberWait) { *ws = append(*ws, w) }

// applied tells the waiting what became of their changes now that entries are applied, with the members as they are
// after them.
func (ws *memberWaits) applied(entries []*raftpb.Entry, conf *raftpb.ConfState) {
	for _, e := range entries {
		if len(*ws) == 0 {
			return
		}
		ws.appliedOne(e, len(conf.GetVotersOutgoing()) == 0)
	}
}

// appliedOne is applied for one entry; left says that no joint configuration has still to be left.
func (ws *memberWaits) appliedOne(e *raftpb.Entry, left bool) {
	waiting := (*ws)[:0]
	for _, w := range *ws {
		switch {
		case w.joint && left:
			w.reply <- nil
		case w.index != e.GetIndex():
			waiting = append(waiting, w)
		case w.term != e.GetTerm():
			w.reply <- fmt.Errorf("%w: another leader overwrote the change", ErrNotLeader)
		case left:
			w.reply <- nil
		default:
			w.joint = true
			waiting = append(waiting, w)
		}
	}
	clear((*ws)[len(waiting):])
	*ws = waiting
}

// abandon answers everybody after a whole state took the place of this one: whether it has the changes is unknown.
func (ws *memberWaits) abandon() {
	for _, w := range *ws {
		w.reply <- fmt.Errorf("%w: this node was given a newer state", ErrUnknownOutcome)
	}
	*ws = emptied(*ws)
}
