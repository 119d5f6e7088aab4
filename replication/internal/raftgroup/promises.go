package raftgroup

import "go.etcd.io/raft/v3/raftpb"

// promises tells whether what is written has to be durable before raft's answers go out: entries, term and vote have,
// the commit index has not, which a restarted member learns again from its leader. So a message that only moves the
// commit index costs no sync.
type promises struct {
	term, vote uint64 // as last written
	owed       bool   // something of them was written since the last sync
}

// wrote notes what is about to be written.
func (p *promises) wrote(m *raftpb.Message) {
	p.owed = p.owed || len(m.GetEntries()) > 0
	if hard := hardState(m); hard != nil && (hard.GetTerm() != p.term || hard.GetVote() != p.vote) {
		p.term, p.vote, p.owed = hard.GetTerm(), hard.GetVote(), true
	}
}

// hardState returns the hard state that a message carries, nil if none.
func hardState(m *raftpb.Message) *raftpb.HardState {
	if m.Term == nil && m.Vote == nil && m.Commit == nil {
		return nil
	}
	return &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
}
