package timeline

import (
	"slices"
	"time"
)

// Delay says that a region shows its history late: its log has all of it, and so the region's cursor, but its storages
// have only what is not behind Shown. What is behind it can still be cut off ([OpCut]).
type Delay struct {
	Shown Position // up to where commands may be handed to storages
	// Of is when that came, for people and for points of time: what came later is not shown. Zero: not known.
	Of time.Time `json:",omitzero"`
}

// Receipt says when a delayed region had everything up to a position in its log, by the wall clock of its leader.
type Receipt struct {
	Position Position  `json:"position"`
	Time     time.Time `json:"time"`
}

// Hides reports whether an entry of the history stands behind what the region may show: a frame that ends behind it, or
// a reign that begins behind the next position.
func (d *Delay) Hides(h Header) bool { return d != nil && h.Last() > d.Shown }

// delay begins to show late, from here on, or shows more. What was applied before it began is shown.
func (m *Machine) delay(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case s.Role() != Secondary:
		return refusal("region is %s", s.Role())
	case s.Delay == nil:
		s.Delay = &Delay{Shown: s.Cursor.Position, Of: c.Of}
		return Applied, "", nil
	case c.Shown > s.Cursor.Position:
		return refusal("position %d, region is at %d", c.Shown, s.Cursor.Position)
	}
	if c.Shown > s.Delay.Shown {
		s.Delay = &Delay{Shown: c.Shown, Of: c.Of}
	}
	return Applied, "", nil
}

// undelay shows everything again.
func (m *Machine) undelay() (Outcome, string, error) {
	if m.state.Delay == nil {
		return Skipped, "", nil
	}
	m.state.Delay = nil
	return Applied, "", nil
}

// Cut returns what ends the history of a region in the state s at an earlier place, for r to begin there.
func Cut(s *State, to Cursor, r Reign) *Control {
	return &Control{
		Op: OpCut, At: s.Cursor.Position, Epoch: s.Cursor.Epoch, Origin: &Origin{Cursor: to}, Claim: &r,
	}
}

// cut ends the history at an earlier place, which is shown or to be shown next: nobody saw anything behind it. The
// claims of reigns that go with the rest stay what the region gave way to, so that its epochs only rise (invariant 6).
func (m *Machine) cut(c *Control) (Outcome, string, error) {
	s := m.state
	switch {
	case c.Origin == nil || c.Claim == nil || c.Claim.Primary != s.Region:
		return refusal("no place, or no claim of this region")
	case s.Role() != Secondary:
		return refusal("region is %s", s.Role())
	case c.At != s.Cursor.Position || c.Epoch != s.Cursor.Epoch:
		return refusal("proposed at %d of epoch %d, region is at %d of %d", c.At, c.Epoch, s.Cursor.Position,
			s.Cursor.Epoch)
	case s.Delay == nil:
		return refusal("region is not delayed: everything that it has is applied")
	case c.Origin.Cursor.Position < s.Delay.Shown:
		return refusal("position %d is applied, up to %d", c.Origin.Cursor.Position, s.Delay.Shown)
	case c.Origin.Cursor.Position >= s.Cursor.Position:
		return refusal("nothing stands behind position %d, region is at %d", c.Origin.Cursor.Position,
			s.Cursor.Position)
	}
	reigns := UpTo(s.Reigns, c.Origin.Cursor.Position)
	if Latest(reigns).Epoch != c.Origin.Cursor.Epoch {
		return refusal("position %d is of epoch %d, not %d", c.Origin.Cursor.Position, Latest(reigns).Epoch,
			c.Origin.Cursor.Epoch)
	}
	if claim := s.HighestClaim(); len(reigns) < len(s.Reigns) && outranks(claim, s.Yielded) {
		s.Yielded = claim
	}
	s.Cursor, s.Reigns = c.Origin.Cursor, slices.Clone(reigns)
	s.Delay = &Delay{Shown: s.Cursor.Position, Of: c.Of}
	s.givesUp(s.Cursor.Position)
	s.PassedOver = nil
	return Applied, "", nil
}

// UpTo returns those of reigns that have begun when p is the last position.
func UpTo(reigns []Reign, p Position) []Reign {
	n := len(reigns)
	for n > 0 && reigns[n-1].First > p+1 {
		n--
	}
	return reigns[:n]
}
