package raftgroup

import (
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Status is how this member sees the group.
type Status struct {
	ID       uint64
	Term     uint64
	Leader   uint64 // 0: none known
	IsLeader bool
	Commit   uint64 // an index that is known to be committed
	Applied  uint64 // the last index that the machine has
	// Leaders is how often this member came to know a leader that it had not known before, since it started.
	Leaders uint64
	// Changes is how many changes of members this one has applied since it started. What is applied and was read after
	// this is no older than that many.
	Changes uint64
	Conf    *raftpb.ConfState
	// DiskStalled is for how long the log's disk has not finished a write, if that is longer than an election timeout.
	DiskStalled time.Duration
	// DiskFull is for how long the log, or the machine, has found no room on its disk, zero if both have.
	DiskFull time.Duration
	// MachineHung is for how long the machine has not finished one step, if that is longer than a few election
	// timeouts.
	MachineHung time.Duration
	// Kept says why nobody leads for long: this member knows of what was agreed on and who could lead lacks. "": it
	// keeps no vote back for that.
	Kept string
	// Progress is of every member, on the leader; nil elsewhere. Nobody may change it.
	Progress map[uint64]Progress
}

// Basis is on what a change of members is decided: the members, as the leader of a term has them.
type Basis struct {
	Term    uint64
	Changes uint64 // as in Status
	Conf    *raftpb.ConfState
}

// Basis returns that of whoever decides by this status, and by nothing that he knew before.
func (s *Status) Basis() Basis { return Basis{Term: s.Term, Changes: s.Changes, Conf: s.Conf} }

// Progress is what the leader knows of a member.
type Progress struct {
	Match  uint64 // the last index known to be on its disk
	Next   uint64
	State  string    // "probe", "replicate" or "snapshot"
	Heard  time.Time // when it last answered this leader; zero: never, or it is the leader
	Active bool      // it answered within the last election timeout
	// Lost says that it refuses what it had acknowledged, since its disk forgot it, or that it has committed what this
	// leader has not.
	Lost bool
	// Ahead is the entry that it has committed and that was beyond the end of this leader's log; zero: there was none.
	Ahead uint64
}

// view is what the loop and the applier publish for everybody: the loop term, leader, leaders, leading, commit, heard,
// stalled, hung, kept and shown, the applier applied, conf and changes. Each is right for itself; two of them read one
// after the other may be of different moments: only conf is no older than changes that was read before.
type view struct {
	term, leader, commit, applied atomic.Uint64
	leaders, changes              atomic.Uint64
	leading                       atomic.Bool
	heard                         atomic.Int64                     // nanoseconds of the clock; 0: nobody
	stalled, hung                 atomic.Int64                     // ns
	kept                          atomic.Pointer[string]           // why nobody leads; nil: not known
	conf                          atomic.Pointer[raftpb.ConfState] // nobody changes what it points to
	shown                         atomic.Pointer[shown]            // nil: this node does not lead; likewise
}

// shown is what a leader knows of the members, for whoever must not wait for the loop.
type shown struct {
	at            time.Time
	term, changes uint64 // as of the loop
	members       map[uint64]Progress
}

func newView(initial recovered) *view {
	v := new(view)
	v.applied.Store(initial.applied)
	v.conf.Store(initial.conf)
	v.term.Store(initial.hard.GetTerm())
	v.commit.Store(initial.hard.GetCommit())
	return v
}

// status returns everything but Progress.
func (v *view) status() Status {
	kept := ""
	if why := v.kept.Load(); why != nil {
		kept = *why
	}
	return Status{
		Kept:    kept,
		Changes: v.changes.Load(), // before what it counts
		Term:    v.term.Load(), Leader: v.leader.Load(), IsLeader: v.leading.Load(),
		Commit: v.commit.Load(), Applied: v.applied.Load(), Conf: v.conf.Load(), Leaders: v.leaders.Load(),
		DiskStalled: time.Duration(v.stalled.Load()), MachineHung: time.Duration(v.hung.Load()),
	}
}
