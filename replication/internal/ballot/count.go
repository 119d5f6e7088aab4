package ballot

import (
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// count is how much one process knows to be left of the hold of its voter's charter. What anybody promised by that hold
// is over before: whoever promises notes first how much is left, and goes on from when it proposed that, and who sees
// the note goes on from when it sees it (B9).
type count struct {
	hold   *timeline.Hold // nil: there is none
	number uint64         // of the note by which it goes
	left   time.Duration  // at
	at     Instant
}

// see looks at what the voter has applied. Who leads goes by what it counts itself.
func (c *count) see(now Instant, b *timeline.Ballot, leads bool) {
	switch {
	case b == nil || b.Charter.Hold == nil:
		*c = count{}
	case !b.Charter.Hold.Same(c.hold) || b.Count.Number != c.number && !leads:
		*c = count{b.Charter.Hold, b.Count.Number, b.Charter.Hold.For - b.Count.Over, now}
	}
}

// end returns when the hold is over; zero: there is none.
func (c *count) end() Instant {
	if c.hold == nil {
		return 0
	}
	return c.at + c.left
}

// rest returns how much of the hold is left.
func (c *count) rest(now Instant) time.Duration { return max(0, c.end()-now) }

// counts is how many times a voter notes how much of a hold is over, beside once for each who begins to speak for it.
const counts = 60

// due reports whether it is time for the next note. A restart costs at most as much again as is between two of them.
func (c *count) due(now Instant, s *timeline.State) bool {
	if c.hold == nil || !c.hold.Counted || s.Charter() == nil || !c.hold.Same(s.Charter().Hold) {
		return false
	}
	noted, rest := c.hold.For-s.Ballot.Count.Over, c.rest(now)
	return noted-rest >= max(c.hold.For/counts, s.Charter().Lease) || rest == 0 && noted > 0
}

// note returns the one to be made now.
func (c *count) note(now Instant) *timeline.Control {
	return &timeline.Control{Op: timeline.OpCount, Hold: c.hold, Over: c.hold.For - min(c.rest(now), c.hold.For)}
}
