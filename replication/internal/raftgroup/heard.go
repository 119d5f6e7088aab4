package raftgroup

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// What raft counts as the leader is what it last heard of: a voter forgets it after one to two election timeouts, a
// learner and whoever has a stuck disk never, and a process that stood still believes what was true before. So the view
// has beside it when that was last heard, by the clock:
//
//   - by a follower or learner, when the leader that it names spoke in its term;
//   - by a leader, when a majority of the voters, itself included, had last answered, or had voted for it.

// spoken notes a message that was stepped, if it is the present leader's.
func (v *view) spoken(m *raftpb.Message, node *raft.RawNode, now time.Time) {
	s := node.BasicStatus()
	if s.RaftState == raft.StateFollower && s.Lead == m.GetFrom() && s.HardState.GetTerm() == m.GetTerm() {
		v.heard.Store(now.UnixNano())
	}
}

// answered notes when a majority had last answered the leader self. heard says of the others when each last did.
func (v *view) answered(self uint64, heard map[uint64]time.Time, now time.Time) {
	conf, at := v.conf.Load(), now
	for _, voters := range [][]uint64{conf.GetVoters(), conf.GetVotersOutgoing()} {
		if len(voters) == 0 {
			continue
		}
		times := make([]time.Time, len(voters))
		for i, id := range voters {
			if times[i] = heard[id]; id == self {
				times[i] = now
			}
		}
		slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
		if t := times[len(times)/2]; t.Before(at) {
			at = t
		}
	}
	if n := at.UnixNano(); !at.IsZero() && n > v.heard.Load() {
		v.heard.Store(n)
	}
}

// Heard returns when this member last heard the leader that it names, or the last one that it knew, or, while it leads,
// a majority; zero if it has heard nobody since it started. lately says that this is no longer ago than an election
// timeout: else nobody here knows whether there is a leader, and who it is. It costs nothing.
func (g *Group) Heard() (at time.Time, lately bool) {
	n := g.view.heard.Load()
	if n == 0 {
		return time.Time{}, false
	}
	at = time.Unix(0, n)
	within := time.Duration(g.config.ElectionTicks) * g.config.TickInterval
	return at, g.config.Clock.Now().Sub(at) <= within
}
