package region

import "sync/atomic"

// Leads tells whether this node leads its Raft group. It is asked often.
type Leads interface {
	// LeadsIn reports whether it does in this term, whatever was applied here.
	LeadsIn(term uint64) bool
}

// Leadership is the term in which this node leads its region and has applied everything before it: whoever needs a
// state that has everything looks at it afterwards. It is safe for concurrent use; the Raft group sets it, in order
// with what is applied, and is asked besides: while nothing is applied here, since the storage hangs, the end of a term
// is not told. One without a group goes by what it was told.
type Leadership struct {
	group Leads
	term  atomic.Uint64
}

// NewLeadership returns that of a node that leads nothing yet.
func NewLeadership(group Leads) *Leadership { return &Leadership{group: group} }

// Set says that this node leads term; zero: it does not lead. It returns what was said before.
func (l *Leadership) Set(term uint64) (before uint64) { return l.term.Swap(term) }

// Term returns the term in which this node leads; ok is false if it does not.
func (l *Leadership) Term() (term uint64, ok bool) {
	if term = l.term.Load(); term == 0 || l.group != nil && !l.group.LeadsIn(term) {
		return 0, false
	}
	return term, true
}

// Leads reports whether this node leads its region.
func (l *Leadership) Leads() bool {
	_, leads := l.Term()
	return leads
}
