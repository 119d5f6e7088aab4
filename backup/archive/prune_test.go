package archive

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// tree makes links of a history that forks, as two archive it who begin and end where they like.
func tree(r *rand.Rand) (links []Link, places []Place) {
	chain := byte(1)
	at := Place{Epoch: 1}
	places = append(places, at)
	next := func(from Place) Place {
		chain++
		to := from
		to.Chain = [8]byte{chain}
		if r.IntN(5) == 0 {
			to.Epoch++ // a reign: the position stays
		} else {
			to.Position += timeline.Position(1 + r.IntN(9))
		}
		return to
	}
	for range 40 {
		if r.IntN(8) == 0 {
			at = places[r.IntN(len(places))] // a fork
			at.Epoch += 10
			at.Chain[1] = chain
			places = append(places, at)
		}
		to := next(at)
		links = append(links, Link{From: at, To: to, Digest: [8]byte{chain}})
		if r.IntN(4) == 0 { // another one archives further
			beyond := next(to)
			links = append(links, Link{From: at, To: beyond, Digest: [8]byte{chain, 1}},
				Link{From: to, To: beyond, Digest: [8]byte{chain, 2}})
			places = append(places, to)
			to = beyond
		}
		places, at = append(places, to), to
	}
	return links, places
}

// Whatever is pruned, and wherever whoever prunes is cut short: a snapshot of the position, or a later one, is brought
// forward along each branch on which it was before, and the branches end where they ended.
func TestWhatIsPrunedNobodyNeeds(t *testing.T) {
	pruned := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		links, places := tree(r)
		oldest := places[r.IntN(len(places))].Position
		gone := Unneeded(links, oldest)
		pruned += len(gone)
		gone = gone[:r.IntN(len(gone)+1)]
		left := slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return slices.Contains(gone, l) })
		if !slices.Equal(placesOf(Ends(links)), placesOf(Ends(left))) {
			t.Fatalf("seed %d: branches end elsewhere", seed)
		}
		for _, end := range Ends(links) {
			for _, base := range places {
				if base.Position < oldest {
					continue
				}
				want, _, before := Path(links, end.To, base)
				got, _, after := Path(left, end.To, base)
				if before != after || before && len(want) > 0 && len(got) == 0 {
					t.Fatalf("seed %d: pruned before %d: from %+v to %+v there was %v, and is %v", seed, oldest, base,
						end.To, before, after)
				}
			}
		}
	}
	if pruned < 1000 {
		t.Errorf("only %d segments went", pruned)
	}
}

func placesOf(ends []Link) (places []Place) {
	for _, l := range ends {
		places = append(places, l.To)
	}
	return places
}
