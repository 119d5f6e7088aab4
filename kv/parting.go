package kv

import (
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// Parting is what revisions say of where a reign began that may have lost a tail. Zero is what is not known.
type Parting struct {
	Revision int64 // the last one before the reign
	Base     int64 // above Revision, and at most every revision since the reign began
	Readable int64 // the lowest one that can be read, of those up to Revision
}

// PartingAt says where the lossy reign reigns[at] of the history that s has began; reigns are all of it. Of what was
// compacted nothing is known but where the reign's own block of revisions begins, if it has one.
func PartingAt(s *Store, reigns []replication.Reign, at int) Parting {
	g, err := s.acquire()
	if err != nil {
		return Parting{}
	}
	defer g.release()
	state, later := g.now.Load().State, 0
	for _, r := range reigns[at+1:] {
		if r.Lossy {
			later++
		}
	}
	r := reigns[at]
	gap, ok := state.GapOf(mvcc.Jump{Epoch: uint64(r.Epoch), Place: r.Place, Nonce: r.Nonce}, later)
	if !ok {
		return Parting{}
	}
	p := Parting{Revision: gap.Before, Base: gap.Base, Readable: max(state.Compact, mvcc.FirstRevision)}
	for _, g := range state.Gaps {
		if g.Base <= gap.Before {
			p.Readable = max(p.Readable, g.Base)
		}
	}
	return p
}

// RevisionAgo returns the revision n before the newest one of the history that s has: what lossy reigns jumped over is
// none. 0 if there is none, or if it cannot be read.
func RevisionAgo(s *Store, n int64) int64 {
	g, err := s.acquire()
	if err != nil {
		return 0
	}
	defer g.release()
	return g.now.Load().State.Ago(n)
}
