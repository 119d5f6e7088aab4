package standing

import (
	"sync"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Fence stands before every acknowledgement and every confirmed read: where votes are taken, they need a lease of the
// epoch in which they are made (invariant 7). Where none are, it stands open, and so does a nil one. It is safe for
// concurrent use.
type Fence struct {
	clock   clock.Clock
	applied *region.Applied
	short   wake.Signal // something was not let through

	mu       sync.Mutex
	evidence ballot.Evidence
}

// NewFence returns a fence that lets nothing pass where votes are taken.
func NewFence(c clock.Clock, a *region.Applied) *Fence {
	return &Fence{clock: c, applied: a, short: wake.New()}
}

// Short is nudged when something was not let through. It has one receiver.
func (f *Fence) Short() wake.Signal { return f.short }

// Grant takes what the voters' promises entitle to. A promise stands until it ends, also if its holder does not lead
// any more: it was given to the region.
func (f *Fence) Grant(e ballot.Evidence) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.evidence = e
}

// Holds reports whether the region in the state s has a lease of its epoch now.
func (f *Fence) Holds(s *timeline.State) bool {
	if f == nil || s.Charter() == nil {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.evidence.Epoch == s.Cursor.Epoch && f.clock.Elapsed() < f.evidence.Until
}

// Admits reports whether what was written up to p in the epoch e may be acknowledged now, and in how many regions it
// has to be for that. Both are by one charter: where a ceiling takes the place of further regions, or they that of a
// ceiling, nothing may before the voters are asked by the new one.
func (f *Fence) Admits(e timeline.Epoch, p timeline.Position) (regions int, ok bool) {
	if f == nil {
		return 1, true
	}
	c := f.applied.State().Charter()
	if c == nil {
		return 1, true
	}
	f.mu.Lock()
	has := f.evidence
	held := has.Epoch == e && f.clock.Elapsed() < has.Until && p <= has.Ceiling && isOf(has, c)
	f.mu.Unlock()
	if !held {
		f.short.Nudge()
	}
	return c.Spread(), held
}

func lossless(c *timeline.Charter) bool { return c.MaxLoss == 0 }

// isOf reports whether what the voters promised entitles to something by the charter c. Where nothing may be lost they
// keep that very one: by another one other regions were to have what is acknowledged.
func isOf(e ballot.Evidence, c *timeline.Charter) bool {
	return e.Lossless == lossless(c) && (!e.Lossless || e.Charter == c.Mark())
}

// Bound returns up to where may be acknowledged in the reign of s, whatever its primary hears from now on, of what is
// in so many regions. ok is false if there is no bound to what a failover may lose.
func (f *Fence) Bound(s *timeline.State) (p timeline.Position, regions int, ok bool) {
	c := s.Charter()
	if f == nil || c == nil || c.MaxLoss == timeline.NoBound {
		return 0, 1, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.evidence.Epoch != s.Cursor.Epoch || !isOf(f.evidence, c) {
		return 0, c.Spread(), true
	}
	p = f.evidence.Ceiling
	return p, c.Spread(), lossless(c) || p != timeline.Position(timeline.NoBound)
}

// Ceiling returns up to where the region in the state s may acknowledge, without a bound where no votes are taken.
func (f *Fence) Ceiling(s *timeline.State) timeline.Position {
	if f == nil || s.Charter() == nil {
		return timeline.Position(timeline.NoBound)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.evidence.Ceiling
}
