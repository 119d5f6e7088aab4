package replay

import "github.com/mimir-kv/mimir/kv/mvcc"

// Revisions of the lost history are counted from the fork. Where it is not known whether a command changed something,
// and so took a revision, what follows is known between two bounds; a client that compares with a revision it has seen
// narrows them.

// segment is a run of revisions without a jump.
type segment struct {
	base int64
	// What is known beside the bounds: of the first at doubts, sum were revisions.
	at, sum int64
}

// stamp is a revision: that of base after sure changes and doubts of which it is not known whether they were any. A
// stamp without a segment is exact.
type stamp struct {
	in           *segment
	exact        int64
	sure, doubts int64
}

func exactly(revision int64) stamp { return stamp{exact: revision} }

// bounds returns the lowest and the highest revision that the stamp can be.
func (s stamp) bounds() (low, high int64) {
	if s.in == nil {
		return s.exact, s.exact
	}
	g, from := s.in, s.in.base+s.sure
	if s.doubts >= g.at {
		return from + g.sum, from + g.sum + s.doubts - g.at
	}
	return from + max(0, g.sum-(g.at-s.doubts)), from + min(s.doubts, g.sum)
}

// learn takes note of what the stamp is: within its bounds.
func (s stamp) learn(revision int64) {
	if g := s.in; g != nil && s.doubts >= g.at {
		g.at, g.sum = s.doubts, revision-g.base-s.sure
	}
}

// revisions counts those of the lost history.
type revisions struct {
	now   stamp
	jumps []Jump // to come
}

// newRevisions begins at the fork. If its revision is not known it is some one below Base.
func newRevisions(f *Fork) *revisions {
	now := stamp{in: &segment{base: f.Revision}}
	if f.Revision == 0 {
		now = stamp{in: &segment{base: mvcc.FirstRevision}, doubts: f.Base - 1 - mvcc.FirstRevision}
	}
	return &revisions{now: now, jumps: f.Jumps}
}

// changed counts a command that changed something, doubted one that may have.
func (r *revisions) changed() { r.now.sure++ }
func (r *revisions) doubted() { r.now.doubts++ }

// next is the revision of the command under way, if it changes something.
func (r *revisions) next() stamp {
	n := r.now
	n.sure++
	return n
}

// reach makes the jumps before a position.
func (r *revisions) reach(position uint64) error {
	for len(r.jumps) > 0 && r.jumps[0].First <= position {
		low, high := r.now.bounds()
		from, err := (&mvcc.State{Revision: low}).Jumped(r.jumps[0].Jump)
		if err != nil {
			return err
		}
		to, err := (&mvcc.State{Revision: high}).Jumped(r.jumps[0].Jump)
		if err != nil {
			return err
		}
		r.now = stamp{in: &segment{base: from.Revision}, doubts: to.Revision - from.Revision}
		r.jumps = r.jumps[1:]
	}
	return nil
}

// at returns the stamp of a known revision, and goes on from it.
func (r *revisions) at(revision int64) stamp {
	r.now = stamp{in: &segment{base: revision}}
	return exactly(revision)
}
