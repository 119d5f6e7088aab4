package keyset

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Flips count what a look at each of them does, whatever was added and counted in turn, at each revision.
func TestFlipsCountAsIfEachWereLookedAt(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		var f Flips
		exists := map[string]bool{}
		revision, most := int64(2), 1+random.IntN(6000)
		key := func() string { return fmt.Sprintf("k%05d", random.IntN(1+most/2)) }
		for len(f.All()) < most {
			for range random.IntN(200) {
				k := key()
				exists[k] = !exists[k]
				f.Add(Change{Key: k, Revision: revision, Exists: exists[k], Flip: true})
				revision += int64(random.IntN(2))
			}
			in := Interval{From: key(), To: key(), Bounded: random.IntN(4) > 0}
			rev := revision - int64(random.IntN(50))*int64(random.IntN(2))
			if random.IntN(8) == 0 {
				rev = random.Int64N(revision + 1)
			}
			want := int64(0)
			for _, c := range f.All() {
				if c.Revision <= rev && c.Key >= in.From && (!in.Bounded || c.Key < in.To) {
					want += int64(c.step())
				}
			}
			if got := f.Count(in, rev); got != want {
				t.Fatalf("seed %d: %d flips count %d in %+v at %d, want %d", seed, len(f.All()), got, in, rev, want)
			}
		}
	}
}

// The next key that one is of is found as if each were looked at.
func TestTheNextFlip(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 2))
		var f Flips
		key := func() string { return fmt.Sprintf("k%05d", random.IntN(20_000)) }
		for range 1 + random.IntN(3000) {
			f.Add(Change{Key: key(), Revision: int64(len(f.All())), Exists: true, Flip: true})
			if random.IntN(20) > 0 {
				continue
			}
			from, want, is := key(), "", false
			for _, c := range f.All() {
				if c.Key >= from && (!is || c.Key < want) {
					want, is = c.Key, true
				}
			}
			if got, ok := f.Next(from); got != want || ok != is {
				t.Fatalf("seed %d: of %d flips from %s on: %q, %v; want %q, %v", seed, len(f.All()), from, got, ok,
					want, is)
			}
		}
	}
}

// A count among many flips looks at few, also where each comes behind another flip.
func BenchmarkFlips(b *testing.B) {
	var f Flips
	for i := range 30_000 {
		f.Add(Change{Key: fmt.Sprintf("k%05d", i), Exists: true, Flip: true})
	}
	for i := 0; b.Loop(); i++ {
		f.Add(Change{Key: fmt.Sprintf("l%05d", i), Exists: true, Flip: true})
		if n := f.Count(Interval{From: "k"}, 1); n != int64(len(f.All())) {
			b.Fatal(n)
		}
	}
}
