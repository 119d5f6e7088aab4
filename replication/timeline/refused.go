package timeline

import (
	"fmt"
	"slices"
)

// maxPassedOver bounds what a region remembers of the reigns that it refused where it is.
const maxPassedOver = 64

// declines returns why the region does not begin the reign r of its own, wherever that continues its history: what it
// gave way to, promised or voted for speaks against it. "" says that nothing does, or that r is another region's.
func (s *State) declines(r Reign) string {
	switch {
	case r.Primary != s.Region:
		return ""
	case r.Epoch <= s.Yielded.Epoch:
		return fmt.Sprintf("epoch %d, region yielded to epoch %d of %s", r.Epoch, s.Yielded.Epoch, s.Yielded.Primary)
	case r.Handoff != 0 && s.Refused.covers(r.Epoch-1, r.Handoff):
		return fmt.Sprintf("handoff %d of epoch %d was refused here", r.Handoff, r.Epoch-1)
	case !s.votedFor(r):
		return fmt.Sprintf("epoch %d: the region's vote is for %s in epoch %d", r.Epoch, s.Ballot.For,
			s.Ballot.Promised)
	default:
		return ""
	}
}

func (r Refusal) covers(e Epoch, handoff uint64) bool {
	return r.Handoff != 0 && (e < r.Epoch || e == r.Epoch && handoff <= r.Handoff)
}

// passOver remembers a reign that continues the history here, or what was refused here, and that the rules forbid: the
// log may have what was written behind it, which does not continue here, and which is no damage.
func (m *Machine) passOver(r Reign) {
	s := m.state
	if r.First != s.Cursor.Position+1 || !s.leadsOn(r) {
		return
	}
	after := m.folder.Reign(r.Previous, r)
	if slices.Contains(s.PassedOver, after) {
		return
	}
	s.PassedOver = append(slices.Clone(s.PassedOver), after)
	s.PassedOver = s.PassedOver[max(0, len(s.PassedOver)-maxPassedOver):]
	m.changed()
}

// passedOver reports whether a chain is that behind a reign that was refused here. One that has begun all the same is
// the history.
func (s *State) passedOver(c Chain) bool {
	return c != s.Cursor.Chain && slices.Contains(s.PassedOver, c)
}

// leadsOn reports whether r follows what the region has, or had before another reign began there, or refused there.
func (s *State) leadsOn(r Reign) bool {
	return r.Previous == s.Cursor.Chain || s.begunBefore(r.First, r.Previous) ||
		slices.Contains(s.PassedOver, r.Previous)
}

// begunBefore reports whether a reign has begun at first after that chain.
func (s *State) begunBefore(first Position, previous Chain) bool {
	return slices.ContainsFunc(s.Reigns, func(o Reign) bool { return o.First == first && o.Previous == previous })
}
