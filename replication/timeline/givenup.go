package timeline

import "slices"

// GivenUp is what a region had before it installed the state of another one because its own history had diverged.
type GivenUp struct {
	Index uint64   // of the entry that installed the state
	Fork  Position // the last position of what was given up that the state is known to share
}

// maxEarlier is how many times before the last one a region remembers each by itself.
const maxEarlier = 16

// givesUp notes that the region gives up what it has behind fork, by an entry whose index [Machine.Rebase] tells. Of
// the times before, those are kept that gave up more: who missed them all has to know the least fork.
func (s *State) givesUp(fork Position) {
	earlier := slices.Clone(s.Earlier)
	if s.GivenUp != nil {
		earlier = append(earlier, *s.GivenUp)
	}
	earlier = slices.DeleteFunc(earlier, func(g GivenUp) bool { return g.Fork >= fork })
	if n := len(earlier); n > maxEarlier { // the oldest two as one: who missed the later saves too much
		earlier[1].Fork = min(earlier[0].Fork, earlier[1].Fork)
		earlier = earlier[1:]
	}
	if len(earlier) == 0 {
		earlier = nil
	}
	s.GivenUp, s.Earlier = &GivenUp{Fork: fork}, earlier
}

// GaveUp returns the least fork of all that the region gave up by entries after index; false if it gave up nothing.
func (s *State) GaveUp(index uint64) (fork Position, ok bool) {
	all := s.Earlier
	if s.GivenUp != nil {
		all = append(slices.Clone(all), *s.GivenUp)
	}
	for _, g := range all {
		if g.Index > index && (!ok || g.Fork < fork) {
			fork, ok = g.Fork, true
		}
	}
	return fork, ok
}
