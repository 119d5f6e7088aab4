package recall

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// Bounds of what is remembered of witnesses: of how many, of how many lines of each, and how many lives of a line, the
// last ones.
const (
	maxWitnesses = 64
	maxLines     = 2
	maxWords     = 32 // as many as a line remembers itself (witness)
)

// witnessed is what a witness said of its directory. A later line is greater (witness): what some still remember of one
// before takes the place of none. It is JSON in a file: never change a name.
type witnessed struct {
	Line  string       `json:"line,omitempty"` // that it named here itself, which is kept whatever others tell
	Words []fleet.Word `json:"words"`          // one of each life, by their lines, the latest first
	Heard uint64       `json:"heard"`          // the greater the later
}

// NoteWitness remembers what the witness with this ID said itself. soon has it saved soon: it voted.
func (m *Memory) NoteWitness(id string, w fleet.Word, soon bool) {
	if w.Line == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteWords(id, w.Line, []fleet.Word{w})
	m.news = m.news || soon && m.grown
}

// NoteWords remembers what somebody else heard of a witness, of the line that it named here itself, and of the
// latest one beside; of the two latest where it named none.
func (m *Memory) NoteWords(id string, words []fleet.Word) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteWords(id, m.witnesses[id].Line, words)
}

// noteWords keeps the last lives of the lines that count, of what is known and of words: the same ones in whatever
// order they are heard. named is the line that the witness named here, "" if it did not. The caller holds mu.
func (m *Memory) noteWords(id, named string, words []fleet.Word) {
	list := slices.Clone(m.witnesses[id].Words)
	for _, w := range words {
		i := slices.IndexFunc(list, func(o fleet.Word) bool { return o.Line == w.Line && o.Boot == w.Boot })
		switch {
		case w.Line == "":
		case i < 0:
			list = append(list, w)
		case list[i].Start == w.Start && list[i].Writes < w.Writes:
			list[i] = w
		}
	}
	list = last(list, named)
	before := m.witnesses[id]
	if len(list) == 0 || before.Line == named && slices.Equal(list, before.Words) {
		return
	}
	if _, known := m.witnesses[id]; !known && len(m.witnesses) >= maxWitnesses {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(m.witnesses)), func(a, b string) int {
			return cmp.Compare(m.witnesses[a].Heard, m.witnesses[b].Heard)
		})
		delete(m.witnesses, oldest)
	}
	same := func(a, b fleet.Word) bool { return a.Boot == b.Boot }
	m.news = m.news || before.Line != named || !slices.EqualFunc(list, before.Words, same)
	m.grown = true
	m.heard++
	m.witnesses[id] = witnessed{Line: named, Words: list, Heard: m.heard}
}

// last returns the words that are kept of list, which it sorts: of the last lives of the line named, and of the latest
// ones.
func last(list []fleet.Word, named string) (kept []fleet.Word) {
	slices.SortFunc(list, func(a, b fleet.Word) int {
		switch {
		case a.Line != b.Line && a.Line == named:
			return -1
		case a.Line != b.Line && b.Line == named:
			return 1
		}
		return cmp.Or(cmp.Compare(b.Line, a.Line), cmp.Compare(b.Start, a.Start), cmp.Compare(b.Boot, a.Boot))
	})
	lines, words := 0, 0
	for i, w := range list {
		if i == 0 || list[i-1].Line != w.Line {
			lines, words = lines+1, 0
		}
		if words++; lines <= maxLines && words <= maxWords {
			kept = append(kept, w)
		}
	}
	return kept
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
