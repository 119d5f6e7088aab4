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
