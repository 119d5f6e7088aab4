package slots

import (
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Places returns where the history of a primary in its state ends, and where each other region is, by what it
// acknowledged to this node, which leads, or to an earlier leader that noted it. One that acknowledged nothing of this
// reign is taken for one that has everything before.
func (s *Slots) Places() (end contract.Position, regions []laggate.Place) {
	state := s.config.Applied.State()
	acked, began := s.tracker.within(state), max(timeline.Latest(state.Reigns).First, 1)-1
	for _, name := range s.config.Others() {
		p := max(acked[name], began)
		if slot, ok := slotOf(state, name); ok {
			p = max(p, slot.Position)
		}
		regions = append(regions, s.place(state, name, p))
	}
	return state.Cursor.Position, regions
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
