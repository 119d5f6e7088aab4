package timeline

import (
	"fmt"
	"time"
)

// Hold is a time for which the primary stays where it is: who supports it promises that for as long, so that it goes on
// while other voters are away. The loss that a failover costs has no bound meanwhile.
type Hold struct {
	For time.Duration `json:"for"`
	// Until is when it is over by the wall clock of who ordered it: for people, and for a later leader of the primary.
	// No promise counts by it.
	Until time.Time `json:"until"`
	// Counted says that every voter notes how much of it is over, so that who starts anew does not begin to count anew.
	// Of nodes of LevelCount.
	Counted bool `json:"counted,omitempty"`
}

// Count is a note of a voter that Over of its charter's hold is over: whatever it promised by it ends before the rest
// is over as well, counted from when the note is seen. Number counts the notes.
type Count struct {
	Number uint64
	Over   time.Duration
}

// MaxHold is the longest a primary may be held.
const MaxHold = 24 * time.Hour

// Same reports whether both are one hold, or none.
func (h *Hold) Same(o *Hold) bool {
	return h == o || h != nil && o != nil && h.For == o.For && h.Until.Equal(o.Until)
}

// Left returns how much of the hold is left for who has known of it for so long, at wall: never more than For. A nil
// hold has nothing left.
func (h *Hold) Left(known time.Duration, wall time.Time) time.Duration {
	if h == nil {
		return 0
	}
	return max(0, min(h.For-known, h.For, h.Until.Sub(wall)))
}

func (h *Hold) fault(c *Charter) string {
	switch {
	case h == nil:
		return ""
	case h.For <= c.Lease || h.For > MaxHold:
		return fmt.Sprintf("a hold of %v (more than the lease, %v, at most %v)", h.For, c.Lease, MaxHold)
	case c.MaxLoss == 0 || c.StopWrites:
		return "where writes wait for other regions, a hold would hold nothing"
	}
	return ""
}

// Under says that up to Position may have been acknowledged in Epoch, whatever ceiling anybody was told.
type Under struct {
	Epoch    Epoch    `json:"epoch"`
	Position Position `json:"position"`
}

// In returns up to where may have been acknowledged in the epoch e by it, zero if it says nothing of that.
func (u Under) In(e Epoch) Position {
	if u.Epoch != e {
		return 0
	}
	return u.Position
}

// Under returns how many commands at most that were acknowledged, as its own charter says, a candidate may not have:
// one at least if it has not heard of the reign. Who votes for it may not know the charter yet.
func (c *Candidacy) Under() uint64 {
	u, last := c.Charter.Under, Latest(c.Reigns)
	switch {
	case c.Handoff != 0 || u.Epoch == 0 || last.Epoch > u.Epoch || last.Epoch == u.Epoch && last.Primary == c.For:
		return 0
	case last.Epoch < u.Epoch:
		return uint64(max(1, u.Position-min(u.Position, c.Cursor.Position)))
	}
	return uint64(u.Position - min(u.Position, c.Cursor.Position))
}

// Uncounts reports whether next, which is to follow c, no longer counts on what nobody may lose by c. That is in as
// many regions as c says, of which some may not vote any more: then a majority of the voters of next may be without. Or
// next allows a loss, of what it has counted itself. What an only voter acknowledged, by whatever charter, nobody else
// was told of.
func (c *Charter) Uncounts(next *Charter) bool {
	if c.MaxLoss != 0 {
		return len(c.Voters) == 1 && len(next.Voters) > 1 && next.MaxLoss != NoBound
	}
	have := c.Spread()
	for i := range c.Voters {
		if w := &c.Voters[i]; !w.Witness() && next.Voter(w.ID) == nil {
			have--
		}
	}
	return next.MaxLoss != 0 || have < next.Spread()
}

// Bound returns what the voter knows of the newest reign, with what its charter says of holds: in one there is no
// ceiling.
func (b *Ballot) Bound() Known {
	k, c := b.Known, &b.Charter
	switch e := k.Epoch(); {
	case e == 0:
	case c.Hold != nil && c.Epoch == e:
		k.Ceiling = Position(NoBound)
	case c.Under.Epoch == e:
		k.Ceiling = max(k.Ceiling, c.Under.Position)
	}
	return k
}

// Next returns the charter that the primary of the epoch e, which began behind the position last, may write after c. A
// hold is one reign's.
func (c *Charter) Next(e Epoch, last Position) *Charter {
	next := *c
	next.Epoch, next.Number = e, c.Number+1
	if c.Hold != nil && c.Epoch != e {
		next.Hold, next.Under = nil, Under{c.Epoch, last}
	}
	return &next
}

// Ends returns c without its hold, in which up to the position last was acknowledged.
func (c *Charter) Ends(last Position) *Charter {
	next := *c
	if c.Hold != nil {
		next.Hold, next.Under = nil, Under{c.Epoch, last}
	}
	return &next
}

// keep has the ballot go by the charter c. What was noted is of one hold.
func (b *Ballot) keep(c *Charter) {
	if !c.Hold.Same(b.Charter.Hold) {
		b.Count = Count{}
	}
	b.Charter = *c
}

// count takes a note of how much of the hold is over: also of less than is noted, if somebody counted more slowly.
func (m *Machine) count(c *Control) (Outcome, string, error) {
	b := m.state.Ballot
	switch {
	case m.state.Charter() == nil || c.Hold == nil || !c.Hold.Counted || !c.Hold.Same(b.Charter.Hold):
		return refusal("another hold, or none")
	case c.Over < 0 || c.Over > c.Hold.For:
		return refusal("%v of %v", c.Over, c.Hold.For)
	}
	next := *b
	next.Count = Count{b.Count.Number + 1, c.Over}
	m.state.Ballot = &next
	return Applied, "", nil
}
