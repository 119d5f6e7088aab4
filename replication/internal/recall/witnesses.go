package recall

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// Bounds of what is remembered of witnesses: of how many, and how many lives of each, the last ones.
const (
	maxWitnesses = 64
	maxWords     = 4
)

// witnessed is what a witness said of its directory, of the latest line that it named itself. It is JSON in a file:
// never change a name.
type witnessed struct {
	Words []fleet.Word `json:"words"` // one of each life, the latest first
	Heard uint64       `json:"heard"` // the greater the later
}

// NoteWitness remembers what the witness with this ID said itself. soon has it saved soon: it voted.
func (m *Memory) NoteWitness(id string, w fleet.Word, soon bool) {
	if w.Line == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.witnesses[id]
	if len(before.Words) > 0 && before.Words[0].Line != w.Line {
		before.Words = nil
	}
	m.noteWords(id, before, []fleet.Word{w})
	m.news = m.news || soon && m.grown
}

// NoteWords remembers what somebody else heard of a witness, as far as that is of the line that is known here.
func (m *Memory) NoteWords(id string, words []fleet.Word) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.witnesses[id]
	line := ""
	if len(before.Words) > 0 {
		line = before.Words[0].Line
	}
	for _, w := range words {
		if line = cmp.Or(line, w.Line); w.Line == "" || w.Line != line {
			return
		}
	}
	m.noteWords(id, before, words)
}

// noteWords keeps the last lives of before and words, which are of one line: the same ones in whatever order they are
// heard. The caller holds mu.
func (m *Memory) noteWords(id string, before witnessed, words []fleet.Word) {
	list := slices.Clone(before.Words)
	for _, w := range words {
		if i := slices.IndexFunc(list, func(o fleet.Word) bool { return o.Boot == w.Boot }); i < 0 {
			list = append(list, w)
		} else if list[i].Start == w.Start {
			list[i].Writes = max(list[i].Writes, w.Writes)
		}
	}
	slices.SortFunc(list, func(a, b fleet.Word) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), cmp.Compare(b.Boot, a.Boot))
	})
	list = list[:min(len(list), maxWords)]
	if len(list) == 0 || slices.Equal(list, m.witnesses[id].Words) {
		return
	}
	if _, known := m.witnesses[id]; !known && len(m.witnesses) >= maxWitnesses {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(m.witnesses)), func(a, b string) int {
			return cmp.Compare(m.witnesses[a].Heard, m.witnesses[b].Heard)
		})
		delete(m.witnesses, oldest)
	}
	same := func(a, b fleet.Word) bool { return a.Boot == b.Boot }
	m.news = m.news || !slices.EqualFunc(list, m.witnesses[id].Words, same)
	m.grown = true
	m.heard++
	m.witnesses[id] = witnessed{Words: list, Heard: m.heard}
}

// Witness returns what is remembered of the witness with this ID. It is the caller's.
func (m *Memory) Witness(id string) []fleet.Word {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.witnesses[id].Words)
}

// Witnesses returns what is remembered of all witnesses. It is the caller's.
func (m *Memory) Witnesses() map[string][]fleet.Word {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.witnesses) == 0 {
		return nil
	}
	all := map[string][]fleet.Word{}
	for id, w := range m.witnesses {
		all[id] = slices.Clone(w.Words)
	}
	return all
}
