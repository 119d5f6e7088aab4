package region

import "sync/atomic"

// Leadership is the term in which this node leads its region and has applied everything before it. It is safe for
// concurrent use; the Raft group sets it, in order with what is applied.
type Leadership struct{ term atomic.Uint64 }

// Set says that this node leads term; zero: it does not lead.
func (l *Leadership) Set(term uint64) { l.term.Store(term) }

// Term returns the term in which this node leads; ok is false if it does not.
func (l *Leadership) Term() (term uint64, ok bool) {
	term = l.term.Load()
	return term, term != 0
}

// Leads reports whether this node leads its region.
func (l *Leadership) Leads() bool { return l.term.Load() != 0 }
