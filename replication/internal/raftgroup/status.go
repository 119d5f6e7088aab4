package raftgroup

import (
	"sync/atomic"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// Status is how this member sees the group.
type Status struct {
	ID       uint64
	Term     uint64
	Leader   uint64 // 0: none known
	IsLeader bool
	Commit   uint64 // an index that is known to be committed
	Applied  uint64 // the last index that the machine has
	Conf     *raftpb.ConfState
	Progress map[uint64]Progress // of every member, on the leader; nil elsewhere
}

// Progress is what the leader knows of a member.
type Progress struct {
	Match  uint64 // the last index known to be on its disk
	Next   uint64
	State  string // "probe", "replicate" or "snapshot"
	Active bool   // it was heard of within the last election timeout
}

// view is what the loop and the applier publish for everybody.
type view struct {
	term, leader, commit, applied atomic.Uint64
	leading                       atomic.Bool
	conf                          atomic.Pointer[raftpb.ConfState]
}

// Status returns the present state; Progress costs a turn of the loop, everything else nothing. Nobody may change Conf.
func (g *Group) Status() Status {
	s := Status{
		ID:       g.config.ID,
		Term:     g.view.term.Load(),
		Leader:   g.view.leader.Load(),
		IsLeader: g.view.leading.Load(),
		Commit:   g.view.commit.Load(),
		Applied:  g.view.applied.Load(),
		Conf:     g.view.conf.Load(),
	}
	if s.IsLeader {
		g.onLoop(func() { s.Progress = g.loop.progress() })
	}
	return s
}

// Applied returns the last index that the machine has.
func (g *Group) Applied() uint64 { return g.view.applied.Load() }

// progress is for the loop alone.
func (l *loop) progress() map[uint64]Progress {
	if !l.leading {
		return nil
	}
	members := make(map[uint64]Progress)
	l.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		members[id] = Progress{Match: pr.Match, Next: pr.Next, State: stateName(pr.State), Active: pr.RecentActive || id == l.g.config.ID}
	})
	return members
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
