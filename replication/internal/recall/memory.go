package recall

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// Bounds of a Memory: of how many nodes, far above those of any fleet, and of how many starts of a disk, the last ones.
const (
	maxNodes  = 1024
	maxStarts = 8
)

// Said is what a node said of itself: how long the log on its disk is. Seal shows the node itself that it said so
// (Own); "": it is of a version before.
type Said struct {
	Disk
	Index uint64 // of the last entry of its region's log
	Seal  string
}

// Seen is what a disk held.
type Seen struct {
	Starts uint64 `json:"starts,omitempty"`
	Index  uint64 `json:"index,omitempty"` // of the last entry of its region's log
}

func (s Seen) max(o Seen) Seen {
	return Seen{Starts: max(s.Starts, o.Starts), Index: max(s.Index, o.Index)}
}

// Word is what one process said last, sealed. It travels as JSON, and is in a file: never change a name.
type Word struct {
	Starts uint64 `json:"starts"`
	Boot   string `json:"boot"`
	Index  uint64 `json:"index"`
	Seal   string `json:"seal"`
}

// remembered is what one node said of itself. It is JSON in a file: never change a name. It is never changed in place.
type remembered struct {
	Disk    string `json:"disk"`
	Boot    string `json:"boot"`
	Now     Seen   `json:"now"`              // by the process that spoke last
	Earlier Seen   `json:"earlier,omitzero"` // by those before it, on the same disk
	Heard   uint64 `json:"heard"`            // the greater the later
	// Words are the sealed ones, by their starts, the last one first.
	Words []Word `json:"words,omitempty"`
}

// Memory remembers what nodes said of themselves, of the latest disk of each. It is safe for concurrent use.
type Memory struct {
	mu    sync.Mutex
	nodes map[uint64]remembered // by Raft identity: what they said when they were asked
	told  map[uint64]remembered // what somebody came with and said in their name
	heard uint64                // the last one
	// By the ID of the voter.
	witnesses map[string]witnessed
	owed      Entry // the zero Entry: none
	news      bool  // of a disk or a start, that is not saved
	grown     bool  // what a disk holds, and that is not saved

	saving sync.Mutex
	file   *file // nil: it lasts as long as the process
}

// NewMemory returns a Memory of nothing, which is lost with the process.
func NewMemory() *Memory {
	return &Memory{
		nodes: map[uint64]remembered{}, told: map[uint64]remembered{}, witnesses: map[string]witnessed{},
	}
}

// Note remembers what the node with this Raft identity said when it was asked. A node of an earlier version, which does
// not name its disk, is not remembered.
func (m *Memory) Note(id uint64, s Said) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(m.nodes, id, s)
}

// NoteTold remembers what came in the name of the node with this Raft identity, whoever said it: it takes the place of
// nothing that the node said when it was asked.
func (m *Memory) NoteTold(id uint64, s Said) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(m.told, id, s)
}

// note remembers it in list. The caller holds mu.
func (m *Memory) note(list map[uint64]remembered, id uint64, s Said) {
	if s.ID == "" {
		return
	}
	before, known := list[id]
	n, seen := before, Seen{Starts: s.Starts, Index: s.Index}
	switch {
	case !known && len(list) >= maxNodes:
		forget(list)
		fallthrough
	case n.Disk != s.ID:
		n = remembered{Disk: s.ID, Boot: s.Boot, Now: seen}
	case n.Boot == s.Boot:
		n.Now = n.Now.max(seen)
	case s.Starts < n.Now.Starts: // of a process before, on its way until now
		n.Earlier = n.Earlier.max(seen)
	default:
		n.Boot, n.Now, n.Earlier = s.Boot, seen, n.Earlier.max(n.Now)
	}
	n.Words = kept(n.Words, s)
	m.news = m.news || n.Disk != before.Disk || n.Boot != before.Boot
	m.grown = m.grown || n.Now != before.Now || n.Earlier != before.Earlier
	m.heard++
	n.Heard = m.heard
	list[id] = n
}

// kept returns words with what was said, if that is sealed: of each process that with the longest log, of the last
// starts, and of the one beside whose log was the longest.
func kept(words []Word, s Said) []Word {
	w := Word{Starts: s.Starts, Boot: s.Boot, Index: s.Index, Seal: s.Seal}
	i := slices.IndexFunc(words, func(o Word) bool { return o.Boot == w.Boot && o.Starts == w.Starts })
	if w.Seal == "" || i >= 0 && words[i].Index >= w.Index {
		return words
	}
	list := slices.Clone(words)
	if i >= 0 {
		list[i] = w
		return list
	}
	list = append(list, w)
	slices.SortFunc(list, func(a, b Word) int {
		return cmp.Or(cmp.Compare(b.Starts, a.Starts), cmp.Compare(b.Boot, a.Boot))
	})
	if len(list) > maxStarts { // of the two oldest that with the shorter log goes
		last := list[maxStarts-1:]
		if last[1].Index > last[0].Index {
			last[0] = last[1]
		}
		list = list[:maxStarts]
	}
	return list
}

// forget forgets the node of which nothing was heard for longest.
func forget(list map[uint64]remembered) {
	oldest := slices.MinFunc(slices.Collect(maps.Keys(list)), func(a, b uint64) int {
		return cmp.Compare(list[a].Heard, list[b].Heard)
	})
	delete(list, oldest)
}

// Furthest returns the last entry that a disk of one of these nodes was heard to hold, zero if none was.
func (m *Memory) Furthest(ids []uint64) (index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		for _, n := range []remembered{m.nodes[id], m.told[id]} {
			index = max(index, n.Now.Index, n.Earlier.Index)
		}
	}
	return index
}

// Before returns what other processes than that of d said of the same disk; the zero Seen if nothing is remembered.
// Words are those of them that are sealed. They are the caller's.
func (m *Memory) Before(id uint64, d Disk) (s Seen, words []Word) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range []remembered{m.nodes[id], m.told[id]} {
		if n.Disk != d.ID {
			continue
		}
		s = s.max(n.Earlier)
		if n.Boot != d.Boot {
			s = s.max(n.Now)
		}
		for _, w := range n.Words {
			if w.Boot != d.Boot && !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
	}
	return s, words
}

// Owe remembers, durably when it returns if the disk takes it, what the region is said to have agreed on and this node
// lacks: its next start helps nobody to lead who lacks that, either. The zero Entry: nothing any more.
func (m *Memory) Owe(e Entry) {
	m.mu.Lock()
	if e == m.owed || e.Index != 0 && !e.after(m.owed) {
		m.mu.Unlock()
		return
	}
	m.owed, m.news = e, true
	m.mu.Unlock()
	m.Save()
}

// Owed returns what Owe remembers.
func (m *Memory) Owed() Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owed
}
