// Package wake is how goroutines tell another that there is something to look at.
//
//  1. Who is nudged looks at least once after the last nudge: none is lost, and many may be taken as one.
//  2. A nudge never blocks.
//
// It leaves to the rooms what there is to see: a signal carries nothing.
package wake

// Signal is received from by the one goroutine that looks. It is made by New.
type Signal chan struct{}

// New returns a signal that nobody has nudged yet.
func New() Signal { return make(Signal, 1) }

// Nudge wakes whoever receives from s, now or the next time. It is safe for concurrent use.
func (s Signal) Nudge() {
	select {
	case s <- struct{}{}:
	default:
	}
}
