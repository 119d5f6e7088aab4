package replication

import (
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// slotPin is the name under which the log is kept for slots.
const slotPin = "slots"

// heldFor returns how many bytes of log are kept for a reader that has p; zero if the log does not reach back so far.
func (n *node) heldFor(p Position) int64 {
	index, err := n.log.Seek(p)
	if err != nil {
		return 0
	}
	return n.log.BytesFrom(index)
}

// streamLog is the log as streams read it. Their pins yield to the bound on what is kept.
type streamLog struct {
	*wal.Log
	mu   sync.Mutex
	pins map[string]bool
}

// Pin implements stream.Log.
func (l *streamLog) Pin(name string, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins[name] = true
	l.Log.Pin(name, index)
}

// Unpin implements stream.Log.
func (l *streamLog) Unpin(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pins, name)
	l.Log.Unpin(name)
}

// release drops every pin of a stream; a stream that goes on reading pins anew what is still there.
func (l *streamLog) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.pins {
		l.Log.Unpin(name)
	}
	clear(l.pins)
}

// retain keeps the log from the first position that some slot still needs; without a slot, a configured region needs all.
func (s *slots) retain() {
	state := &s.node.applied.View().State
	if len(s.node.config.Regions) == 0 {
		return
	}
	if timeline.Supersedes(state.HighestClaim(), timeline.Latest(state.Reigns)) {
		s.node.log.Pin(slotPin, 0) // there may be a fork, and a tail to be saved from all that is held
		return
	}
	lowest := state.Cursor.Position
	for region := range s.node.config.Regions {
		if p, needed := s.neededBy(state, region); needed {
			lowest = min(lowest, p)
		}
	}
	if s.node.heldFor(lowest) > s.node.config.RetainBytes {
		s.node.streamed.release() // whoever still reads there has to bootstrap
		lowest = state.Cursor.Position
	}
	index, err := s.node.log.Seek(lowest)
	if err != nil {
		return // gone already; whoever needs it bootstraps
	}
	s.node.log.Pin(slotPin, index)
}

// neededBy returns what a region has, as far as is known here. A secondary keeps log for the day on which it is primary: until then it
// goes by what the others report.
func (s *slots) neededBy(state *timeline.State, region string) (Position, bool) {
	slot, _ := slotOf(state, region)
	if state.Role() != timeline.Primary {
		v, _ := s.node.fleet.View()
		if l := v.Regions[region].Leader(); l != nil {
			return l.Cursor.Position, true
		}
	}
	return slot.Position, !slot.Lost
}
