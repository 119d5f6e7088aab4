package raftgroup

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// A group begins with its log standing at this entry, which never exists: every first member has it, as if by a
// snapshot of the empty state with the first members. So a member that joins later, with nothing, can only begin with a
// snapshot, which tells it the members; the log alone could not.
const (
	genesisIndex = 1
	genesisTerm  = 1
)

// recovered is what log and machine together say about this node.
//
//  1. What is applied is committed, what is committed is in the log, and the log goes on where the state ends, or
//     before.
//  2. The members are known, but to a node that still waits to join: it has no entry, no log, and may have a vote.
type recovered struct {
	hard    *raftpb.HardState // nil if there never was one
	conf    *raftpb.ConfState // as of applied
	applied uint64
}

// valid returns what contradicts the properties above, for a log of the entries from first to last.
func (r *recovered) valid(first, last uint64) error {
	commit := r.hard.GetCommit()
	switch {
	case first > r.applied+1 || r.applied > commit || commit > last:
		return fmt.Errorf("recovered: applied %d, committed %d, log from %d to %d", r.applied, commit, first, last)
	case len(r.conf.GetVoters()) == 0 && (r.applied > 0 || last > 0):
		return fmt.Errorf("recovered: applied %d, log to %d, and no members", r.applied, last)
	}
	return nil
}

// recoverState brings log and machine into step and returns what raft starts from. It may change the log: what it does
// is safe to do again, if a crash comes in between. ErrLogLost and ErrStateLost say that this member cannot go on as
// what it was.
func recoverState(c *Config) (recovered, error) {
	index, term, conf := c.Machine.Applied()
	hard := c.Log.HardState()
	if hard == nil && c.Log.LastIndex() == 0 {
		switch {
		case index > 0:
			const advice = "remove the member and add a new one"
			return recovered{}, fmt.Errorf("%w: the state of %d is at entry %d; %s", ErrLogLost, c.ID, index, advice)
		case c.Join:
			return recovered{conf: &raftpb.ConfState{}}, nil
		}
		first := raised(nil, genesisTerm, genesisIndex)
		if err := c.Log.Reset(genesisIndex, genesisTerm, first); err != nil {
			return recovered{}, err
		}
		hard = first
	}
	if index == 0 {
		return recoverEmptyMachine(c, hard, conf)
	}
	if len(conf.GetVoters()) == 0 {
		return recovered{}, fmt.Errorf("%w: no members with the state at entry %d", ErrStateLost, index)
	}
	// Installing a checkpoint changes the machine first and the log second: finish what a crash interrupted.
	if known, err := c.Log.Term(index); index > c.Log.LastIndex() || (err == nil && known != term) {
		hard = raised(hard, term, index)
		if err := c.Log.Reset(index, term, hard); err != nil {
			return recovered{}, err
		}
	}
	if base := c.Log.FirstIndex() - 1; index < base {
		return recovered{}, fmt.Errorf("%w: state at entry %d, log begins after %d", ErrStateLost, index, base)
	}
	return recovered{hard: held(c, raised(hard, 0, index)), conf: conf, applied: index}, nil
}

// recoverEmptyMachine is for a machine that never became durable: the log must go back to the beginning.
func recoverEmptyMachine(c *Config, hard *raftpb.HardState, conf *raftpb.ConfState) (recovered, error) {
	if c.Log.LastIndex() == 0 {
		return recovered{hard: hard, conf: &raftpb.ConfState{}}, nil // still waiting to join
	}
	base := c.Log.FirstIndex() - 1
	if term, err := c.Log.Term(base); base != genesisIndex || err != nil || term != genesisTerm {
		return recovered{}, fmt.Errorf("%w: state is empty, log begins after %d", ErrStateLost, base)
	}
	if len(conf.GetVoters()) == 0 {
		conf = firstMembers(c.Peers)
	}
	if len(conf.Voters) == 0 {
		return recovered{}, fmt.Errorf("%w: the first members are needed to replay the log", ErrConfig)
	}
	return recovered{hard: held(c, raised(hard, genesisTerm, genesisIndex)), conf: conf, applied: genesisIndex}, nil
}

func firstMembers(peers []Peer) *raftpb.ConfState {
	conf := &raftpb.ConfState{}
	for _, p := range peers {
		if p.Learner {
			conf.Learners = append(conf.Learners, p.ID)
		} else {
			conf.Voters = append(conf.Voters, p.ID)
		}
	}
	return conf
}

// raised returns hard, nil if there was none, with at least this term and commit. A vote holds for its own term only.
func raised(hard *raftpb.HardState, term, commit uint64) *raftpb.HardState {
	r := &raftpb.HardState{
		Term: new(hard.GetTerm()), Vote: new(hard.GetVote()), Commit: new(max(hard.GetCommit(), commit)),
	}
	if term > hard.GetTerm() {
		r.Term, r.Vote = new(term), new(uint64(0))
	}
	return r
}

// held lowers the commit to what the log holds. A hard state goes to disk ahead of the entries of the same write, so a
// power cut can leave it alone; entries that it covers were acknowledged to nobody.
func held(c *Config, hard *raftpb.HardState) *raftpb.HardState {
	hard.Commit = new(min(hard.GetCommit(), c.Log.LastIndex()))
	return hard
}
