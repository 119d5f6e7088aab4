package raftgroup

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// memberWait is somebody who waits for a membership change to be applied.
type memberWait struct {
	change      *raftpb.ConfChangeV2
	on          Basis
	index, term uint64     // where the change is, once it is in the log
	joint       bool       // applied, but the joint configuration has still to be left
	reply       chan error // takes one answer
}

// memberWaits are all who wait, each for an entry that is in the log and was not applied when they came. Each is
// answered once: at the latest when an entry of a later term is applied before its change or in its place, or a whole
// state takes the place of this one.
type memberWaits struct {
	waiting []*memberWait
	answers []memberAnswer // that are not given yet
}

type memberAnswer struct {
	wait *memberWait
	err  error
}

func (ws *memberWaits) add(w *memberWait) { ws.waiting = append(ws.waiting, w) }

func (ws *memberWaits) answer(w *memberWait, err error) {
	ws.answers = append(ws.answers, memberAnswer{w, err})
}

// tell gives the answers, once raft knows that the changes are applied: before, it would refuse another one.
func (ws *memberWaits) tell() {
	for _, a := range ws.answers {
		a.wait.reply <- a.err
	}
	ws.answers = emptied(ws.answers)
}

// applied finds out what became of the changes now that entries are applied, with the members as they are after them.
func (ws *memberWaits) applied(entries []*raftpb.Entry, conf *raftpb.ConfState) {
	for _, e := range entries {
		if len(ws.waiting) == 0 {
			return
		}
		ws.appliedOne(e, len(conf.GetVotersOutgoing()) == 0)
	}
}

// appliedOne is applied for one entry; left says that no joint configuration has still to be left.
func (ws *memberWaits) appliedOne(e *raftpb.Entry, left bool) {
	waiting := ws.waiting[:0]
	for _, w := range ws.waiting {
		switch {
		case w.joint && left:
			ws.answer(w, nil)
		case !w.joint && w.term < e.GetTerm():
			// Terms never fall in a log: the change can be applied no more. The log of the leader of the later term may
			// well be shorter, and nothing be applied at the index of the change for as long as nobody writes.
			ws.answer(w, fmt.Errorf("%w: another leader overwrote the change", ErrNotLeader))
		case w.index != e.GetIndex():
			waiting = append(waiting, w)
		case left:
			ws.answer(w, nil)
		default:
			w.joint = true
			waiting = append(waiting, w)
		}
	}
	clear(ws.waiting[len(waiting):])
	ws.waiting = waiting
}

// abandon answers everybody after a whole state took the place of this one: whether it has the changes is unknown.
func (ws *memberWaits) abandon() {
	ws.tell()
	for _, w := range ws.waiting {
		w.reply <- fmt.Errorf("%w: this node was given a newer state", ErrUnknownOutcome)
	}
	ws.waiting = emptied(ws.waiting)
}
