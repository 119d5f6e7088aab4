package timeline

import "slices"

// Heirs returns the other regions that are proved to have what was written up to p in the epoch e, by the history of s:
// each began a later reign behind that, in it, or one that s gave way to and which goes on from its end.
func (s *State) Heirs(e Epoch, p Position) (regions []string) {
	i := slices.IndexFunc(s.Reigns, func(r Reign) bool { return r.Epoch == e })
	if i < 0 || p > endOf(s.Reigns, i+1, s.Cursor.Position) || s.Diverged != nil && s.Diverged.Fork < p {
		return nil
	}
	later := s.Reigns[i+1:]
	if y := s.Yielded; y.Epoch > s.Cursor.Epoch && y.First == s.Cursor.Position+1 && y.Previous == s.Cursor.Chain {
		later = append(slices.Clone(later), y)
	}
	for _, r := range later {
		if r.Primary != s.Region && !slices.Contains(regions, r.Primary) {
			regions = append(regions, r.Primary)
		}
	}
	return regions
}

// Has reports whether the history of s has what was written up to p in the epoch e, or that is gone: it was cut off, or
// is what the region gives up. Neither, if the history is not that far, or is giving way to one that is not here yet.
// Two reigns of one epoch are told apart only by where they began.
func (s *State) Has(e Epoch, p Position) (has, gone bool) {
	latest, end := Latest(s.Reigns), Position(0)
	i := slices.IndexFunc(s.Reigns, func(r Reign) bool { return r.Epoch == e })
	if i >= 0 {
		end = endOf(s.Reigns, i+1, s.Cursor.Position)
	}
	switch wrote := i >= 0 && p <= end; {
	case s.Diverged != nil && p > s.Diverged.Fork:
		return false, wrote
	case wrote:
		return p >= s.Reigns[i].First, p < s.Reigns[i].First
	case s.Diverged != nil || s.Yielded.Epoch > latest.Epoch:
		return false, false
	}
	return false, latest.Epoch > e
}
