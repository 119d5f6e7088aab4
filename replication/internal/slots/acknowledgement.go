package slots

import (
	"slices"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// acknowledgement is what a secondary's quorum has, passed on to the leader.
type acknowledgement struct {
	Region   string            `json:"region"`
	Epoch    contract.Epoch    `json:"epoch"` // of the last reign up to the position
	Position contract.Position `json:"position"`
	// Reign is that of Epoch, where who took it knew: of two claims to one epoch the epoch alone does not tell. A
	// version before does not say it.
	Reign timeline.Reign `json:"reign,omitzero"`
}

// newer reports whether a is further than b.
func (a acknowledgement) newer(b acknowledgement) bool {
	return a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Position > b.Position
}

// apart reports whether a and b are known to be of two claims to one epoch.
func (a acknowledgement) apart(b acknowledgement) bool {
	return a.Epoch == b.Epoch && a.Reign.Epoch != 0 && b.Reign.Epoch != 0 && a.Reign != b.Reign
}

// within returns the last position of the history s that a covers. Positions alone cannot be compared: the history in
// which one was acknowledged may have been cut since. Of another claim to the epoch, it covers what was before both.
func (a acknowledgement) within(s *timeline.State) contract.Position {
	end := s.Cursor.Position
	for i := len(s.Reigns) - 1; i >= 0; i-- {
		if r := s.Reigns[i]; r.Epoch == a.Epoch {
			if a.Reign.Epoch != 0 && a.Reign != r {
				end = min(a.Reign.First, r.First) - 1
			}
			return min(a.Position, end)
		}
		end = s.Reigns[i].First - 1
	}
	return 0
}

// acknowledgements are the newest of each region.
type acknowledgements map[string]acknowledgement

func (m acknowledgements) note(a acknowledgement) {
	if before := m[a.Region]; a.newer(before) || a.apart(before) {
		m[a.Region] = a
	}
}

// news returns between which positions of the history s regions have more by m than by before: behind from, up to to.
func (m acknowledgements) news(before acknowledgements, s *timeline.State) (from, to contract.Position) {
	from = s.Cursor.Position
	for region, a := range m {
		if was := before[region]; was != a {
			from, to = min(from, was.within(s)), max(to, a.within(s))
		}
	}
	return from, to
}

// regionsAt counts the regions that have a write of the history s, this one included, by their word or since they reign
// behind it: this one alone, once the write was cut from it.
func (m acknowledgements) regionsAt(r *contract.Receipt, s *timeline.State) int {
	return 1 + len(m.having(nil, r, s))
}

// having appends the other regions that have it.
func (m acknowledgements) having(list []string, r *contract.Receipt, s *timeline.State) []string {
	if (acknowledgement{Epoch: r.Epoch, Position: r.Position}).within(s) < r.Position {
		return list
	}
	heirs := s.Heirs(r.Epoch, r.Position)
	for region, a := range m {
		if !slices.Contains(heirs, region) && a.within(s) >= r.Position && counts(s, region) {
			list = append(list, region)
		}
	}
	for _, region := range heirs {
		if counts(s, region) {
			list = append(list, region)
		}
	}
	return list
}

// counts reports whether what a region has is safe with it. Where nothing may be lost, what is safe is what no majority
// of voters is without, and a region without a vote is in none. One that was removed has nothing.
func counts(s *timeline.State, region string) bool {
	if s.Roster != nil && s.Roster.Home(region) == nil {
		return false
	}
	c := s.Charter()
	return c == nil || c.MaxLoss != 0 || c.Voter(region) != nil
}
