package slots

import (
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Places returns where the history of a primary in its state ends, and where each other region is, by what it
// acknowledged to this node, which leads, or to an earlier leader that noted it. One that was not heard since this
// reign began is taken for one that has everything before.
func (s *Slots) Places() (end contract.Position, regions []laggate.Place) {
	state := s.config.Applied.State()
	acked, latest := s.tracker.within(state), timeline.Latest(state.Reigns)
	for _, name := range s.config.Others() {
		p := acked[name]
		if slot, ok := slotOf(state, name); ok {
			p = max(p, slot.Position)
		}
		if !s.spokeIn(latest, name) {
			p = max(p, max(latest.First, 1)-1)
		}
		regions = append(regions, s.place(state, name, p))
	}
	return state.Cursor.Position, regions
}

func (s *Slots) spokeIn(r timeline.Reign, region string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	spoke, heard := s.spoke[region]
	return heard && spoke == r
}

func (s *Slots) place(state *timeline.State, name string, p contract.Position) laggate.Place {
	at := laggate.Place{Region: name, Position: p}
	if p >= state.Cursor.Position {
		return at
	}
	_, bytes, err := s.config.Log.behind(p)
	at.Bytes, at.Unkept = bytes, err != nil
	return at
}
