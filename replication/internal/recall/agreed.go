package recall

import "sync"

// Agreed is how far the region is known to have agreed, by the word of its nodes when they answered a [Check]. The zero
// Agreed is of nothing. It is safe for concurrent use.
type Agreed struct {
	mu    sync.Mutex
	index uint64 // of the latest term that was said, and there the last
	term  uint64
	old   uint64 // the last one of which no term was said
}

// UpTo returns the entry of the region's log up to which it did, and its term; 0 of what is not known. It never falls,
// but where nodes agreed in a later term on less: their region went on without what others had.
func (a *Agreed) UpTo() (index, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.old > a.index {
		return a.old, 0
	}
	return a.index, a.term
}

func (a *Agreed) note(index, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case term == 0:
		a.old = max(a.old, index)
	case term > a.term || term == a.term && index > a.index:
		a.index, a.term = index, term
	}
}
