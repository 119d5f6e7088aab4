package recall

import "sync"

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

// remembered is what one node said of itself.
type remembered struct {
	disk    string
	boot    string
	now     Seen // by the process that spoke last
	earlier Seen // by those before it, on the same disk
}

// Memory remembers what nodes said of themselves, of the latest disk of each. It is safe for concurrent use.
type Memory struct {
	mu    sync.Mutex
	nodes map[uint64]remembered // by Raft identity
}

// NewMemory returns a Memory of nothing.
func NewMemory() *Memory { return &Memory{nodes: map[uint64]remembered{}} }

// Note remembers that the node with this Raft identity said that its disk d holds the log up to index. A node of an
// earlier version, which does not name its disk, is not remembered.
func (m *Memory) Note(id uint64, d Disk, index uint64) {
	if d.ID == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, known := m.nodes[id]
	seen := Seen{Starts: d.Starts, Index: index}
	switch {
	case !known && len(m.nodes) >= maxNodes:
		return
	case n.disk != d.ID:
		n = remembered{disk: d.ID, boot: d.Boot, now: seen}
	case n.boot != d.Boot:
		n = remembered{disk: d.ID, boot: d.Boot, now: seen, earlier: n.earlier.max(n.now)}
	default:
		n.now = n.now.max(seen)
	}
	m.nodes[id] = n
}

// Before returns what other processes than that of d said of the same disk; the zero Seen if nothing is remembered.
func (m *Memory) Before(id uint64, d Disk) Seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[id]
	switch {
	case n.disk != d.ID:
		return Seen{}
	case n.boot == d.Boot:
		return n.earlier
	default:
		return n.earlier.max(n.now)
	}
}
