package succession

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWalksOfForming lets operators order a new fleet of several regions at once, with leaders that come and go and
// hear of each other late. One history comes about, or none; and one does once everybody answers and it is ordered.
func TestWalksOfForming(t *testing.T) {
	n := 2000
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 9))
		w := newWorld(t, []string{"us", "eu", "ap"}[:2+seed%2]...)
		w.exists = seed%3 > 0
		for range 40 {
			w.strideToForm(r, w.regions[r.IntN(len(w.regions))])
		}
		for _, p := range w.regions {
			if !p.leads() {
				w.leads(p)
			}
			w.step(p, Found{w.operator(p)})
		}
		w.settle()
		if why := w.converged(); why != "" {
			w.breaks("%s", why)
		}
		if len(w.broken) > 0 {
			t.Fatalf("seed %d: %s\n%s", seed, strings.Join(w.broken, "\n"), w.told())
		}
	}
}

func (w *world) strideToForm(r *rand.Rand, p *place) {
	other := w.regions[r.IntN(len(w.regions))]
	switch n := r.IntN(20); {
	case n < 4 && !p.leads():
		w.say("> %s leads", p.name)
		w.leads(p)
	case n < 5 && p.leader != nil:
		w.say("> %s dies", p.name)
		w.dies(p, r.IntN(2) == 0)
	case n < 12 && other != p && p.leader != nil:
		w.say("> %s hears %s", p.name, other.name)
		w.hears(p, other)
	case n < 14 && p.leader != nil:
		w.say("> %s founds", p.name)
		w.step(p, Found{w.operator(p)})
	case n < 15 && p.leader != nil && p.operator != 0:
		w.say("> %s gives up", p.name)
		w.step(p, GaveUp{p.operator, context.Canceled})
	case n < 18 && len(p.log) > 0:
		w.commit(p)
	default:
		w.wait(testLimits.Again)
	}
}
