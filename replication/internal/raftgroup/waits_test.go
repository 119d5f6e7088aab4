package raftgroup

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// Who waits for a change is answered by what is applied at its index, and for a joint one when it is left.
func TestWhoWaitsForAChange(t *testing.T) {
	entry := func(index, term uint64) []*raftpb.Entry {
		return []*raftpb.Entry{{Index: new(index), Term: new(term)}}
	}
	simple, joint := &raftpb.ConfState{Voters: []uint64{1}}, &raftpb.ConfState{VotersOutgoing: []uint64{1}}
	for _, test := range []struct {
		name string
		step func(ws *memberWaits)
		want error
	}{
		{"applied", func(ws *memberWaits) { ws.applied(entry(5, 2), simple) }, nil},
		{"overwritten", func(ws *memberWaits) { ws.applied(entry(5, 3), simple) }, ErrNotLeader},
		{"overwritten by a shorter log", func(ws *memberWaits) { ws.applied(entry(4, 3), simple) }, ErrNotLeader},
		{"left a joint one, in a later term", func(ws *memberWaits) {
			ws.applied(entry(5, 2), joint)
			ws.applied(entry(6, 3), joint)
			if len(ws.answers) != 0 {
				t.Error("answered before the joint configuration was left")
			}
			ws.applied(entry(7, 3), simple)
		}, nil},
		{"left a joint one", func(ws *memberWaits) {
			ws.applied(entry(5, 2), joint)
			if len(ws.answers) != 0 {
				t.Error("answered before the joint configuration was left")
			}
			ws.applied(entry(6, 2), simple)
		}, nil},
		{"a whole state instead", func(ws *memberWaits) { ws.abandon() }, ErrUnknownOutcome},
	} {
		var ws memberWaits
		w := &memberWait{index: 5, term: 2, reply: make(chan error, 1)}
		ws.add(w)
		ws.applied(entry(3, 2), simple)
		if len(w.reply) != 0 {
			t.Errorf("%s: answered too early", test.name)
		}
		test.step(&ws)
		ws.tell()
		if len(w.reply) != 1 || len(ws.waiting) != 0 {
			t.Errorf("%s: %d answers, %d wait", test.name, len(w.reply), len(ws.waiting))
		} else if err := <-w.reply; !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
