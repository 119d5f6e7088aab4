package mvcc

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/mimir-kv/mimir/kv/command"
)

func jumped(t testing.TB, s *State, j Jump) *State {
	t.Helper()
	next, err := s.Jumped(j)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestStateNeverOpensAgain takes random steps, and sees that the fields agree after each, that an encoded state is
// the same again, and that a revision which could not be read never can be (M3).
func TestStateNeverOpensAgain(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		s := newState()
		closed := map[int64]bool{}
		for i := range 60 {
			next := *s
			switch random.IntN(4) {
			case 0:
				j := Jump{Epoch: uint64(i), Place: uint8(random.IntN(4))}
				binary.LittleEndian.PutUint64(j.Nonce[:], random.Uint64())
				next = *jumped(t, s, j)
			case 1:
				rev := s.Revision - random.Int64N(5) + 1
				if len(s.Gaps) > 0 && random.IntN(2) == 0 {
					rev = s.Gaps[0].Base - random.Int64N(3)
				}
				compacted, err := s.Compacted(rev)
				switch {
				case rev <= s.Compact != errors.Is(err, command.ErrCompacted),
					rev > s.Revision != errors.Is(err, command.ErrFutureRevision):
					t.Fatalf("%+v compacted at %d: %v", s, rev, err)
				case err == nil:
					next = *compacted
				}
			default:
				next.Revision++
			}
			s = &next
			if err := s.valid(); err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			if back, err := decodeState(s.append(nil)); err != nil || back.valid() != nil ||
				back.Revision != s.Revision {
				t.Fatalf("%+v is read as %+v, %v", s, back, err)
			}
			for rev := range closed {
				if s.CheckRead(rev) == nil {
					t.Fatalf("%+v: %d can be read again", s, rev)
				}
			}
			probes := []int64{s.Revision, s.Compact - 1, s.Compact, s.Revision - 1}
			for _, g := range s.Gaps {
				probes = append(probes, g.Before, g.Before+1, g.Base-1, g.Base)
			}
			for _, rev := range probes {
				if err := s.CheckRead(rev); rev > 0 && errors.Is(err, command.ErrCompacted) {
					closed[rev] = true
					if base := s.CompactedAt(rev); base <= 0 || s.CheckRead(base) != nil {
						t.Fatalf("%+v: %d goes on at %d, which cannot be read", s, rev, base)
					}
				}
			}
			if s.CheckRead(s.Revision+1) == nil {
				t.Fatalf("%+v: the future can be read", s)
			}
			if base := s.Begins(); base <= 0 || s.CheckRead(base) != nil {
				t.Fatalf("%+v: begins at %d, which cannot be read", s, base)
			}
		}
	}
}

func TestLost(t *testing.T) {
	s := &State{Revision: 30, Compact: 5, Gaps: []Gap{{Before: 10, Base: 20}}}
	for _, c := range []struct{ upTo, minimum, want int64 }{
		{30, 0, 0}, {4, 0, 0}, {3, 0, 5}, {3, 5, 0}, // what is compacted
		{10, 0, 0}, {11, 0, 20}, {19, 0, 20}, {20, 0, 0}, // what was sent in the gap
		{10, 15, 20}, {10, 20, 0}, {25, 15, 0}, // what is waited for in the gap
		{31, 0, 20}, {31, 40, 20}, // what was sent in another history
		{30, 130, 0}, {30, 30 + Ahead, 0}, {30, 31 + Ahead, 20}, // what is waited for
	} {
		if got := s.Lost(c.upTo, c.minimum); got != c.want {
			t.Errorf("sent up to %d, nothing wanted below %d: %d, want %d", c.upTo, c.minimum, got, c.want)
		}
	}
}

func TestValidFindsWhatIsWrong(t *testing.T) {
	for _, s := range []State{
		{Revision: 0, Compact: -1}, {Revision: 5, Compact: 6}, {Revision: 5, Compact: -2},
		{Revision: 30, Compact: 20, Gaps: []Gap{{10, 20}}}, {Revision: 15, Gaps: []Gap{{10, 20}}},
		{Revision: 30, Gaps: []Gap{{20, 20}}},
		{Revision: 90, Gaps: []Gap{{30, 40}, {10, 20}}},
	} {
		if s.valid() == nil {
			t.Errorf("%+v is taken for valid", s)
		}
	}
}

// What a lossy reign jumped over is no revision: going back by one crosses a gap of any size.
func TestAgoCountsNoGaps(t *testing.T) {
	s := &State{Revision: 105, Compact: 5, Gaps: []Gap{{Before: 10, Base: 50}, {Before: 52, Base: 100}}}
	for n, want := range map[int64]int64{
		0: 105, 5: 100, 6: 52, 8: 50, 9: 10, 14: 5, 15: 0, 1000: 0,
	} {
		if got := s.Ago(n); got != want {
			t.Errorf("%d ago is %d, want %d", n, got, want)
		}
	}
	for n, want := range map[int64]int64{0: 1, 1: 0} {
		if got := newState().Ago(n); got != want {
			t.Errorf("in an empty store %d ago is %d, want %d", n, got, want)
		}
	}
	for _, c := range [][3]int64{ // from, how many, where that is
		{105, 0, 105}, {105, 5, 100}, {105, 6, 52}, {100, 1, 52}, {99, 0, 52}, {53, 2, 50}, {52, 2, 50}, {52, 3, 10},
		{50, 1, 10}, {49, 0, 10}, {11, 1, 9}, {10, 1, 9}, {3, 1, 2}, {3, 5, -2}, {105, 20, -1},
	} {
		if got := s.Back(c[0], c[1]); got != c[2] {
			t.Errorf("%d back from %d is %d, want %d", c[1], c[0], got, c[2])
		}
	}
}
