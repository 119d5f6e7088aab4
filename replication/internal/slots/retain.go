package slots

import (
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// pin is the name under which the log is kept for slots.
const pin = "slots"

// Log is the log as streams read it. Their pins yield to the bound on what is kept. It is safe for concurrent use.
type Log struct {
	*wal.Log
	mu   sync.Mutex
	pins map[string]bool
}

// NewLog returns l as streams read it.
func NewLog(l *wal.Log) *Log { return &Log{Log: l, pins: map[string]bool{}} }

// Pin implements stream.Log.
func (l *Log) Pin(name string, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins[name] = true
	l.Log.Pin(name, index)
}

// Unpin implements stream.Log.
func (l *Log) Unpin(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pins, name)
	l.Log.Unpin(name)
}

// yield drops every pin of a stream; a stream that goes on reading pins anew what is still there.
func (l *Log) yield() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.pins {
		l.Log.Unpin(name)
	}
	clear(l.pins)
}

// heldFor returns how many bytes of log are kept for a reader that has p; zero if the log does not reach back so far.
func (l *Log) heldFor(p contract.Position) int64 {
	index, err := l.Seek(p)
	if err != nil {
		return 0
	}
	return l.BytesFrom(index)
}

// Retain keeps the log from the first position that some slot still needs; without a slot, a configured region needs
// all. It is called once before the Raft group runs, and then by Run.
func (s *Slots) Retain() {
	c := &s.config
	state := c.Applied.State()
	if len(c.Regions) == 0 {
		return
	}
	if timeline.Supersedes(state.HighestClaim(), timeline.Latest(state.Reigns)) {
		c.Log.Log.Pin(pin, 0) // there may be a fork, and a tail to be saved from all that is held
		return
	}
	lowest := state.Cursor.Position
	for _, region := range c.Regions {
		if p, needed := s.neededBy(state, region); needed {
			lowest = min(lowest, p)
		}
	}
	if c.Log.heldFor(lowest) > c.RetainBytes {
		c.Log.yield() // whoever still reads there has to bootstrap
		lowest = state.Cursor.Position
	}
	index, err := c.Log.Seek(lowest)
	if err != nil {
		return // gone already; whoever needs it bootstraps
	}
	c.Log.Log.Pin(pin, index)
}

// neededBy returns what a region has, as far as is known here. A secondary keeps log for the day on which it is
// primary: until then it goes by what the others report.
func (s *Slots) neededBy(state *timeline.State, region string) (contract.Position, bool) {
	slot, _ := slotOf(state, region)
	if state.Role() != timeline.Primary {
		v, _ := s.config.Fleet.View()
		if l := v.Regions[region].Leader(); l != nil {
			return l.Cursor.Position, true
		}
	}
	return slot.Position, !slot.Lost
}
