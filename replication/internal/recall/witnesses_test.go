package recall

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// TestWhatIsRememberedOfAWitness is the same in whatever order it is heard, and of its last lives.
func TestWhatIsRememberedOfAWitness(t *testing.T) {
	var all []fleet.Word
	for start := range uint64(6) {
		for writes := range uint64(3) {
			all = append(all, fleet.Word{Line: "l", Start: start, Boot: fmt.Sprint(start), Writes: 10*start + writes})
		}
	}
	all = append(all, fleet.Word{Line: "l", Start: 5, Boot: "another", Writes: 3}) // of a copy
	want := []fleet.Word{
		{Line: "l", Start: 5, Boot: "another", Writes: 3}, {Line: "l", Start: 5, Boot: "5", Writes: 52},
		{Line: "l", Start: 4, Boot: "4", Writes: 42}, {Line: "l", Start: 3, Boot: "3", Writes: 32},
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

// TestALineThatAWitnessNamesItselfCounts, and not what others still remember of one before.
func TestALineThatAWitnessNamesItselfCounts(t *testing.T) {
	m := NewMemory()
	before, now := fleet.Word{Line: "a", Start: 7, Boot: "x", Writes: 9}, fleet.Word{Line: "b", Start: 1, Boot: "y"}
	m.NoteWords("w", []fleet.Word{before})
	m.NoteWords("w", []fleet.Word{now})
	m.NoteWords("w", []fleet.Word{{Start: 9}})
	m.NoteWitness("w", fleet.Word{}, true) // of a version that does not say
	if got := m.Witness("w"); len(got) != 1 || got[0] != before {
		t.Errorf("remembers %+v", got)
	}
	m.NoteWitness("w", now, false)
	m.NoteWords("w", []fleet.Word{before})
	if got := m.Witness("w"); len(got) != 1 || got[0] != now {
		t.Errorf("remembers %+v", got)
	}
}

// TestWhatIsRememberedOfWitnessesIsKept, soon if one voted, and bounded.
func TestWhatIsRememberedOfWitnessesIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "HEARD")
	m := Remember(durable.OS, path, quiet)
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
	again := Remember(durable.OS, path, quiet)
	if got := again.Witness(last); len(got) != 1 || got[0].Writes != 1000 {
		t.Errorf("remembers %+v", got)
	}
	if got := again.Witnesses(); !reflect.DeepEqual(got, m.Witnesses()) || len(got) != maxWitnesses {
		t.Errorf("remembers %d witnesses", len(got))
	}
}
