package raftgroup

import (
	"math"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// slowestMatch returns the lowest index that all live members have; a follower knows nothing of that, and bounds
// nothing.
func (l *loop) slowestMatch() uint64 {
	lowest := uint64(math.MaxUint64)
	if l.leading {
		l.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
			if id != l.self && pr.RecentActive {
				lowest = min(lowest, pr.Match)
			}
		})
	}
	return lowest
}

// progress returns what this node, as the leader, knows of the members; nil if it does not lead.
func (l *loop) progress() map[uint64]Progress {
	if !l.leading {
		return nil
	}
	members, since := make(map[uint64]Progress), recent(l)
	l.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		f, claimed := l.lost[id], l.ahead.committed(id)
		members[id] = Progress{
			Match: pr.Match, Next: pr.Next, State: stateName(pr.State), Heard: l.heard[id],
			Active: id == l.self || l.heard[id].After(since),
			Ahead:  claimed,
			Lost:   claimed > 0 || f != nil && f.rejects >= lostAfterRejects,
		}
	})
	return members
}

// recent is since when who was heard is active.
func recent(l *loop) time.Time {
	return l.clock.Now().Add(-time.Duration(l.electionTicks) * l.tickInterval)
}

// show publishes what progress returns: at each tick, and when this node begins or ceases to lead, members change, or
// one is heard that was not active.
func show(l *loop, ticked bool) {
	was := l.view.shown.Load()
	switch {
	case !l.leading && was != nil:
		l.view.shown.Store(nil)
	case l.leading && (ticked || was == nil || was.term != l.term || was.changes != l.changes || l.woken):
		l.woken = false
		l.view.shown.Store(&shown{
			at: l.clock.Now(), term: l.term, changes: l.changes, members: l.progress(),
		})
	}
}

func stateName(s tracker.StateType) string {
	switch s {
	case tracker.StateReplicate:
		return "replicate"
	case tracker.StateSnapshot:
		return "snapshot"
	default:
		return "probe"
	}
}

// hear notes, on the leader, that a member answered in this term.
func (l *loop) hear(m *raftpb.Message) {
	if l.leading && m.GetTerm() == l.term {
		l.woken = l.woken || !l.heard[m.GetFrom()].After(recent(l))
		l.heard[m.GetFrom()] = l.clock.Now()
	}
}
