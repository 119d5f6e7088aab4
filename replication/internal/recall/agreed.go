package recall

import "sync/atomic"

// Agreed is how far the region is known to have agreed, by the word of its nodes when they answered a [Check]. The zero
// Agreed is of nothing. It is safe for concurrent use.
type Agreed struct{ index atomic.Uint64 }

// UpTo returns the entry of the region's log up to which it did, 0 if that is not known. It never falls.
func (a *Agreed) UpTo() uint64 { return a.index.Load() }

func (a *Agreed) note(index uint64) {
	for {
		known := a.index.Load()
		if index <= known || a.index.CompareAndSwap(known, index) {
			return
		}
	}
}
