package rewind

import (
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/internal/region"
)

// sweep removes what was not removed before, the states that nothing can ask for any more (W3), and parts of such.
// While a state is made it leaves that to the next look.
func (r *Rewinds) sweep(v *region.View) {
	r.mu.Lock()
	var gone []string
	if r.giveUp == nil { // who begins to make one later has none of these marks
		gone = r.remains.list(false)
	}
	r.mu.Unlock()
	for _, dir := range gone {
		_ = r.remains.remove(dir) // it is tried again
	}
	r.sweepStates(v)
}

// sweepStates is what sweep does to states. Whoever waits for preparing waits for nothing else.
func (r *Rewinds) sweepStates(v *region.View) {
	select {
	case r.preparing <- struct{}{}:
		defer func() { <-r.preparing }()
	default:
		return
	}
	r.mu.Lock()
	gone := r.remains.list(true)
	for id, s := range r.states {
		if v.State.Diverged == nil && v.Index >= s.until {
			gone = append(gone, filepath.Join(r.config.statesDir(), id))
			delete(r.states, id)
		}
	}
	r.mu.Unlock()
	for _, dir := range gone {
		_ = r.remains.remove(dir) // it is tried again
	}
}
