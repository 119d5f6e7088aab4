package raftgroup

import "go.etcd.io/raft/v3/raftpb"

// promises tells whether what is written has to be durable before raft's answers go out: entries, term and vote have,
// the commit index has not, which a restarted member learns again from its leader. So a message that only moves the
// commit index costs no sync; but for one that commits a change of members: those it removed are let go, and could not
// be asked again whether it was committed.
type promises struct {
	term, vote uint64 // as last written
	owed       bool   // something of them was written since the last sync
	change     uint64 // the last change of members that is not known to be committed; zero: none is
	settled    bool   // that it is was written since the last sync
}

// formerPromises are those of a former life, whose log ended at last: whatever it wrote and did not sync, and perhaps a
// change of members.
func formerPromises(last uint64) promises { return promises{owed: true, change: last} }

// wrote notes what is about to be written.
func (p *promises) wrote(m *raftpb.Message) {
	p.owed = p.owed || len(m.GetEntries()) > 0
	for _, e := range m.GetEntries() {
		if e.GetType() != raftpb.EntryNormal {
			p.change = e.GetIndex()
		}
	}
	if hard := hardState(m); hard != nil && (hard.GetTerm() != p.term || hard.GetVote() != p.vote) {
		p.term, p.vote, p.owed = hard.GetTerm(), hard.GetVote(), true
	}
	if p.change != 0 && hardState(m).GetCommit() >= p.change {
		p.change, p.settled = 0, true
	}
}

// synced notes that all of it is durable.
func (p *promises) synced() { p.owed, p.settled = false, false }

// hardState returns the hard state that a message carries, nil if none.
func hardState(m *raftpb.Message) *raftpb.HardState {
	if m.Term == nil && m.Vote == nil && m.Commit == nil {
		return nil
	}
	return &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
}
