package recall

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// TestWhatIsRememberedOfAWitness is the same in whatever order it is heard, and of its last lives.
func TestWhatIsRememberedOfAWitness(t *testing.T) {
	var all []fleet.Word
	const last = maxWords + 1
	for start := range uint64(last + 1) {
		for writes := range uint64(3) {
			all = append(all, fleet.Word{Line: "l", Start: start, Boot: fmt.Sprint(start), Writes: 10*start + writes})
		}
	}
	all = append(all, fleet.Word{Line: "l", Start: last, Boot: "another", Writes: 3}) // of a copy
	want := []fleet.Word{{Line: "l", Start: last, Boot: "another", Writes: 3}}
	for start := uint64(last); len(want) < maxWords; start-- {
		want = append(want, fleet.Word{Line: "l", Start: start, Boot: fmt.Sprint(start), Writes: 10*start + 2})
	}
	for seed := range uint64(20) {
		m, r := NewMemory(), rand.New(rand.NewPCG(seed, 1))
		for range 200 {
			w := all[r.IntN(len(all))]
			if r.IntN(2) == 0 {
				m.NoteWitness("witness/w", w, false)
			} else {
				m.NoteWords("witness/w", []fleet.Word{w})
			}
		}
		m.NoteWords("witness/w", all)
		if got := m.Witness("witness/w"); !reflect.DeepEqual(got, want) {
			t.Fatalf("remembers %+v", got)
		}
		m.news, m.grown = false, false
		m.NoteWords("witness/w", all)
		if m.news || m.grown {
			t.Error("what was heard is news again")
		}
	}
}

// TestTheTwoLatestLinesAreRemembered, by nodes that do not ask the witness themselves as well: one that is of before is
// not taken for news, from whomever it comes.
func TestTheTwoLatestLinesAreRemembered(t *testing.T) {
	m := NewMemory()
	line := func(l string) fleet.Word { return fleet.Word{Line: l, Start: 7, Boot: "of " + l, Writes: 9} }
	for i, c := range []struct {
		heard string
		named bool // by the witness itself
		want  []fleet.Word
	}{
		{"a", false, []fleet.Word{line("a")}},
		{"c", false, []fleet.Word{line("c"), line("a")}},
		{"b", false, []fleet.Word{line("c"), line("b")}},
		{"a", false, []fleet.Word{line("c"), line("b")}},
		{"", false, []fleet.Word{line("c"), line("b")}},
		{"", true, []fleet.Word{line("c"), line("b")}},  // of a version that does not say
		{"a", true, []fleet.Word{line("a"), line("c")}}, // its clock was wrong once
		{"b", false, []fleet.Word{line("a"), line("c")}},
		{"d", false, []fleet.Word{line("a"), line("d")}},
		{"d", true, []fleet.Word{line("d"), line("a")}},
	} {
		m.news, m.grown = false, false
		before := m.Witness("w")
		if c.named {
			m.NoteWitness("w", line(c.heard), false)
		} else {
			m.NoteWords("w", []fleet.Word{line(c.heard)})
		}
		if got := m.Witness("w"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d: after a word of %q it remembers %+v", i, c.heard, got)
		}
		if changed := !reflect.DeepEqual(before, c.want); m.news != changed {
			t.Errorf("%d: a word of %q is news: %t", i, c.heard, m.news)
		}
	}
}

// TestASealGoesWithItsWord: who heard it last can show it.
func TestASealGoesWithItsWord(t *testing.T) {
	m := NewMemory()
	first := fleet.Word{Line: "l", Start: 1, Boot: "b", Writes: 3, Seal: "of 3"}
	second := fleet.Word{Line: "l", Start: 1, Boot: "b", Writes: 4, Seal: "of 4"}
	for range 2 {
		m.NoteWords("w", []fleet.Word{second})
		m.NoteWitness("w", first, false)
	}
	if got := m.Witness("w"); len(got) != 1 || got[0] != second {
		t.Errorf("remembers %+v", got)
	}
}

// TestWhatIsRememberedOfWitnessesIsKept, soon if one voted, and bounded.
func TestWhatIsRememberedOfWitnessesIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "HEARD")
	m := recollected(t, durable.OS, path, quiet)
	for i := range uint64(2 * maxWitnesses) {
		m.NoteWitness(fmt.Sprintf("witness/w%d", i), fleet.Word{Line: "l", Start: 1, Boot: "b", Writes: i}, false)
	}
	last := fmt.Sprintf("witness/w%d", 2*maxWitnesses-1)
	m.news = false
	m.NoteWitness(last, fleet.Word{Line: "l", Start: 1, Boot: "b", Writes: 1000}, true)
	if !m.news {
		t.Error("a vote is not saved soon")
	}
	m.Save()
	again := recollected(t, durable.OS, path, quiet)
	if got := again.Witness(last); len(got) != 1 || got[0].Writes != 1000 {
		t.Errorf("remembers %+v", got)
	}
	if got := again.Witnesses(); !reflect.DeepEqual(got, m.Witnesses()) || len(got) != maxWitnesses {
		t.Errorf("remembers %d witnesses", len(got))
	}
}

// TestALifeIsNotForgottenForAnother: a copy that is used as well, and is started again and again where nobody knows,
// may be told of, and what the witness said here still finds it out.
func TestALifeIsNotForgottenForAnother(t *testing.T) {
	m := NewMemory()
	said := fleet.Word{Line: "l", Start: 4, Boot: "said here", Writes: 9, Seal: "s"}
	m.NoteWitness("witness/w", said, true)
	for i := range uint64(12) {
		m.NoteWords("witness/w", []fleet.Word{{Line: "l", Start: 4 + i, Boot: fmt.Sprint("copy ", i)}})
	}
	if words := m.Witness("witness/w"); !slices.Contains(words, said) {
		t.Errorf("it is forgotten: %+v", words)
	}
}
