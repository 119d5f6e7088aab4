package ballot

import (
	"flag"
	"hash/maphash"
	"testing"
	"time"
)

var (
	renewals = flag.Int("ballot.renewals", 0,
		"how often voters are asked for their support in TestExhaust; 0: so often that it is soon complete")
	exhausted = flag.Int("ballot.exhaust", 200_000, "how many worlds TestExhaust visits at most in each search")
)

// frame is a world on the way that is gone, and what is still to be tried there.
type frame struct {
	world *world
	steps []step
	act   string // that led to it
}

// exhaust visits every world once, the deepest first, so that only one way is in memory at a time. It returns what is
// broken with the way to it, how many worlds there were, and how many there are on the longest way.
func exhaust(l limits, bug string, most int) (broken string, trace []string, seen, depth int, complete bool) {
	seed := maphash.MakeSeed()
	var buf []byte
	known := map[uint64]struct{}{}
	visit := func(n *world) bool {
		buf = n.key(buf[:0])
		id := maphash.Bytes(seed, buf)
		if _, is := known[id]; is {
			return false
		}
		known[id] = struct{}{}
		return true
	}
	renewals := l.Renewals
	l.Renewals = 0 // as many as its beginning needs
	first := begin(l, bug)
	first.left.Renewals = renewals
	visit(first)
	way := []frame{{world: first, steps: first.next(bug)}}
	for len(way) > 0 && len(known) < most {
		at := &way[len(way)-1]
		depth = max(depth, len(way))
		k := len(at.steps) - 1
		if k < 0 {
			way = way[:len(way)-1]
			continue
		}
		step := at.steps[k]
		at.steps = at.steps[:k]
		n := at.world.clone()
		step.do(n)
		if bug == "the holder counts from the answer" {
			n.fromReceipt(at.world)
		}
		n.check()
		if n.broken != "" {
			for _, f := range way[1:] {
				trace = append(trace, f.act)
			}
			return n.broken, append(trace, step.act), len(known), depth, false
		}
		if visit(n) {
			way = append(way, frame{n, n.next(bug), step.act})
		}
	}
	return "", nil, len(known), depth, len(way) == 0
}

// exhaustive are the bounds within which every world is visited, with as many renewals as are soon through; 0: none.
var exhaustive = []struct {
	name  string
	limit limits
}{
	{"one stands", limits{Epochs: 2, Stands: 1, MaxLoss: anyLoss, Renewals: 2}},
	{"a leader changes", limits{Epochs: 2, Changes: 1, Stands: 1, MaxLoss: anyLoss, Renewals: 1}},
	{"the witness restarts", limits{Epochs: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Renewals: 1}},
	{"both stand", limits{Epochs: 2, Stands: 2, MaxLoss: anyLoss, Renewals: 1}},
	{"a budget", limits{Epochs: 2, Stands: 1, Writes: 2, MaxLoss: 1, Renewals: 2}},
	{"nothing may be lost", limits{Epochs: 2, Stands: 1, Writes: 2, Renewals: 2}},
	{"a handoff", limits{Epochs: 3, Stands: 1, Writes: 1, Seals: 1, Refuses: 1, MaxLoss: 2, Renewals: 1}},
	{"a voter is replaced", limits{Epochs: 2, Stands: 1, Charters: 2, MaxLoss: anyLoss, Renewals: 2}},
	{"a lease is lowered", limits{Epochs: 2, Stands: 1, Lowers: 1, MaxLoss: anyLoss, Renewals: 2}},
	{"in a hold", limits{Epochs: 2, Stands: 1, Holds: 1, Held: true, MaxLoss: anyLoss}},
	{"a region goes on that is sealed",
		limits{Epochs: 3, Stands: 1, Writes: 1, MaxLoss: 1, Sealed: true, Renewals: 1}},
	{"there and back", limits{Epochs: 3, Seals: 1, MaxLoss: anyLoss, Handed: true, Renewals: 3}},
	{"there and not back", limits{Epochs: 3, Seals: 1, Refuses: 1, MaxLoss: anyLoss, Handed: true, Renewals: 2}},
	{"there and back, and a voter is replaced",
		limits{Epochs: 3, Seals: 1, Charters: 1, MaxLoss: anyLoss, Handed: true, Renewals: 2}},
	{"a voter is replaced, and charters wait",
		limits{Epochs: 2, Stands: 1, Charters: 2, MaxLoss: anyLoss, Waits: true, Renewals: 2}},
	{"a voter is replaced, charters wait, and a leader changes",
		limits{Epochs: 2, Changes: 1, Stands: 1, Charters: 1, MaxLoss: anyLoss, Waits: true, Renewals: 1}},
	{"there and back, and charters wait",
		limits{Epochs: 3, Seals: 1, MaxLoss: anyLoss, Handed: true, Waits: true, Renewals: 2}},
	{"there and back, and writes", limits{Epochs: 3, Seals: 1, Writes: 1, MaxLoss: 1, Handed: true, Renewals: 2}},
}

// TestExhaust visits all worlds there are within bounds, of which the one that matters is how often voters are asked:
// the more often, the longer it takes.
func TestExhaust(t *testing.T) {
	for _, s := range exhaustive {
		t.Run(s.name, func(t *testing.T) {
			began := time.Now()
			if *renewals != 0 {
				s.limit.Renewals = *renewals
			} else if s.limit.Renewals == 0 {
				t.Skip("takes longer: see -ballot.renewals")
			}
			broken, trace, seen, depth, complete := exhaust(s.limit, "", *exhausted)
			if broken != "" {
				t.Fatalf("%s\n%v", broken, trace)
			}
			t.Logf("%d renewals: %d worlds, %d deep, complete: %t, %v", s.limit.Renewals, seen, depth, complete,
				time.Since(began).Round(time.Millisecond))
			if !complete && *renewals == 0 {
				t.Error("not complete")
			}
		})
	}
}

// soonFound are the mistakes that are soon found within bounds, by how many renewals; the others take longer.
var soonFound = map[string]int{
	"a vote is given before the promise is over": 2,
	sealedAnyhow: 3, sealUnasked: 3,
}

// TestExhaustFindsPlantedMistakes: the bounds within which everything is visited are not so tight that there is nothing
// to find.
func TestExhaustFindsPlantedMistakes(t *testing.T) {
	for _, p := range planted {
		l := p.limit
		if l.Renewals = soonFound[p.bug]; *renewals != 0 {
			l.Renewals = *renewals
		}
		if l.Renewals == 0 {
			continue
		}
		broken, trace, seen, _, complete := exhaust(l, p.bug, *exhausted)
		if broken == "" {
			t.Errorf("%s: nothing noticed it in %d worlds, complete: %t", p.bug, seen, complete)
			continue
		}
		t.Logf("%s: %d worlds, %d steps, %s", p.bug, seen, len(trace), broken)
	}
}
