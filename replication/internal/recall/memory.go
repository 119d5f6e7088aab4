package recall

import (
	"maps"
	"slices"
	"sync"
)

// maxNodes bounds a Memory, far above the nodes of any fleet.
const maxNodes = 1024

// Seen is what a disk held.
type Seen struct {
	Starts uint64 `json:"starts,omitempty"`
	Index  uint64 `json:"index,omitempty"` // of the last entry of its region's log
}

func (s Seen) max(o Seen) Seen {
	return Seen{Starts: max(s.Starts, o.Starts), Index: max(s.Index, o.Index)}
}

// remembered is what one node said of itself. It is JSON in a file: never change a name.
type remembered struct {
	Disk    string `json:"disk"`
	Boot    string `json:"boot"`
	Now     Seen   `json:"now"`              // by the process that spoke last
	Earlier Seen   `json:"earlier,omitzero"` // by those before it, on the same disk
	Heard   uint64 `json:"heard"`            // the greater the later
}

// Memory remembers what nodes said of themselves, of the latest disk of each. It is safe for concurrent use.
type Memory struct {
	mu    sync.Mutex
	nodes map[uint64]remembered // by Raft identity
	heard uint64                // the last one
	// By the ID of the voter.
	witnesses map[string]witnessed
	news      bool // of a disk or a start, that is not saved
	grown     bool // what a disk holds, and that is not saved

	saving sync.Mutex
	file   *file // nil: it lasts as long as the process
}

// NewMemory returns a Memory of nothing, which is lost with the process.
func NewMemory() *Memory {
	return &Memory{nodes: map[uint64]remembered{}, witnesses: map[string]witnessed{}}
}

// Note remembers that the node with this Raft identity said that its disk d holds the log up to index. A node of an
// earlier version, which does not name its disk, is not remembered.
func (m *Memory) Note(id uint64, d Disk, index uint64) {
	if d.ID == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before, known := m.nodes[id]
	n, seen := before, Seen{Starts: d.Starts, Index: index}
	switch {
	case !known && len(m.nodes) >= maxNodes:
		m.forget()
		fallthrough
	case n.Disk != d.ID:
		n = remembered{Disk: d.ID, Boot: d.Boot, Now: seen}
	case n.Boot != d.Boot:
		n = remembered{Disk: d.ID, Boot: d.Boot, Now: seen, Earlier: n.Earlier.max(n.Now)}
	default:
		n.Now = n.Now.max(seen)
	}
	m.news = m.news || n.Disk != before.Disk || n.Boot != before.Boot
	m.grown = m.grown || n.Now != before.Now
	m.heard++
	n.Heard = m.heard
	m.nodes[id] = n
}

// forget forgets the node of which nothing was heard for longest.
func (m *Memory) forget() {
	oldest := slices.MinFunc(slices.Collect(maps.Keys(m.nodes)), func(a, b uint64) int {
		if m.nodes[a].Heard < m.nodes[b].Heard {
			return -1
		}
		return 1
	})
	delete(m.nodes, oldest)
}

// Furthest returns the last entry that a disk of one of these nodes was heard to hold, zero if none was.
func (m *Memory) Furthest(ids []uint64) (index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		n := m.nodes[id]
		index = max(index, n.Now.Index, n.Earlier.Index)
	}
	return index
}

// Before returns what other processes than that of d said of the same disk; the zero Seen if nothing is remembered.
func (m *Memory) Before(id uint64, d Disk) Seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[id]
	switch {
	case n.Disk != d.ID:
		return Seen{}
	case n.Boot == d.Boot:
		return n.Earlier
	default:
		return n.Earlier.max(n.Now)
	}
}
