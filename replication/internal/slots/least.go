package slots

import "github.com/mimir-kv/mimir/replication/contract"

// Least returns a position that every other region has, as far as this node heard; zero if of one that is not known.
func (s *Slots) Least() contract.Position {
	s.retaining.Lock()
	defer s.retaining.Unlock()
	state := s.config.Applied.State()
	least := state.Cursor.Position
	for _, region := range s.config.Others() {
		at := s.standing(state, region)
		if !at.exact {
			return 0
		}
		least = min(least, at.position)
	}
	return least
}
