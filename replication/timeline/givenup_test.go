package timeline

import (
	"bytes"
	"testing"
)

// gave has a region give something up by the entry at index, as an install or a cut does.
func gave(t *testing.T, s *State, index uint64, fork Position) {
	t.Helper()
	s.givesUp(fork)
	m := NewMachine(s)
	if err := m.Rebase(index); err != nil {
		t.Fatal(err)
	}
	*s = m.State()
}

// TestWhatWasGivenUpIsRememberedEachTime: whoever was away knows the least fork of all that he missed, and of nothing
// else; also from what is on the disk.
func TestWhatWasGivenUpIsRememberedEachTime(t *testing.T) {
	s := &State{Region: "us"}
	if fork, ok := s.GaveUp(0); ok {
		t.Errorf("gave up what is behind %d", fork)
	}
	for _, g := range []GivenUp{{5, 4}, {9, 2}, {14, 8}, {20, 6}, {27, 30}} {
		gave(t, s, g.Index, g.Fork)
	}
	encoded, err := s.EncodeRecord()
	if err != nil {
		t.Fatal(err)
	}
	read, err := DecodeRecord(encoded, s.Cursor)
	if err != nil {
		t.Fatal(err)
	}
	clone := s.Clone()
	for index, want := range map[uint64]Position{0: 2, 5: 2, 8: 2, 9: 6, 14: 6, 19: 6, 20: 30, 26: 30} {
		for name, state := range map[string]*State{"as applied": s, "as read": read, "a clone": clone} {
			if fork, ok := state.GaveUp(index); !ok || fork != want {
				t.Errorf("%s: after entry %d it gave up what is behind %d, %t; want %d", name, index, fork, ok, want)
			}
		}
	}
	if fork, ok := s.GaveUp(27); ok {
		t.Errorf("after the last entry it gave up what is behind %d", fork)
	}
}

// What is remembered has a bound, and beyond that too much is said rather than too little.
func TestWhatWasGivenUpHasABound(t *testing.T) {
	s := &State{Region: "us"}
	for i := range 3 * maxEarlier {
		gave(t, s, uint64(i+1), Position(10*i))
	}
	if n := len(s.Earlier); n > maxEarlier {
		t.Errorf("%d are remembered", n)
	}
	for index := range 3 * maxEarlier {
		if fork, ok := s.GaveUp(uint64(index)); !ok || fork > Position(10*index) {
			t.Errorf("after entry %d it gave up what is behind %d, %t", index, fork, ok)
		}
	}
	if fork, _ := s.GaveUp(0); fork != 0 {
		t.Errorf("of all it gave up what is behind %d", fork)
	}
}

// A region that gave up something once writes what it wrote before: versions that know the last time alone read it.
func TestWhatWasGivenUpOnceIsWrittenAsBefore(t *testing.T) {
	s := &State{Region: "us"}
	gave(t, s, 5, 4)
	encoded, err := s.EncodeRecord()
	if err != nil || !bytes.Contains(encoded, []byte(`"GivenUp":{"Index":5,"Fork":4}`)) ||
		bytes.Contains(encoded, []byte("Earlier")) {
		t.Errorf("%s, %v", encoded, err)
	}
}
