package succession

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	walks     = 4000
	walkSteps = 90
)

// TestWalks lets anything happen to a world in any order: leaders die or are deposed with and without what they
// proposed, messages are lost, late and repeated, logs are trimmed, operators order what they like. Never are two
// regions primary in one history, no switchover loses what was acknowledged, and once nothing is lost any more every
// seal ends and all regions hold one history.
func TestWalks(t *testing.T) {
	n := walks
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		names := []string{"us", "eu", "ap"}
		w := newWorld(t, names[:2+seed%2]...) // between two, more happens
		for _, p := range w.regions {
			p.rewinds, p.marks = seed%4 > 1, []string{"", "none", "away", "hang"}[seed/4%4]
		}
		walk(w, rand.New(rand.NewPCG(uint64(seed), 7)), seed%3 == 0)
		if t.Failed() || len(w.broken) > 0 {
			t.Fatalf("seed %d: %s\n%s", seed, strings.Join(w.broken, "\n"), w.told())
		}
	}
}

// walk takes steps at random; with force, operators force failovers as well.
func walk(w *world, r *rand.Rand, force bool) {
	w.found()
	w.told()
	for range walkSteps {
		w.stride(r, w.regions[r.IntN(len(w.regions))], force)
		if len(w.broken) > 0 {
			return
		}
	}
	w.say("> everybody is back")
	for _, p := range w.regions {
		if !p.leads() {
			w.leads(p)
		}
	}
	rests := w.settle()
	if why := w.converged(); why != "" {
		w.breaks("%s", why)
	} else if !rests {
		w.breaks("it does not come to rest")
	}
}

// stride does one thing at p, or to a message.
func (w *world) stride(r *rand.Rand, p *place, force bool) {
	other := w.regions[r.IntN(len(w.regions))]
	switch n := r.IntN(100); {
	case n < 25 && len(w.net) > 0:
		m := w.net[r.IntN(len(w.net))]
		w.say("> deliver %d", m.number)
		w.deliver(m, n < 9)
	case n < 28 && len(w.net) > 0:
		m := w.net[r.IntN(len(w.net))]
		w.say("> lose %d", m.number)
		w.lose(m)
	case n < 50 && len(p.log) > 0:
		w.commit(p)
	case n < 53 && p.running != nil && p.running.Do == Stream && !p.stopping:
		w.say("> %s streams", p.name)
		w.streams(p, false)
	case n < 58:
		w.works(p)
	case n < 70:
		w.writes(p, 1)
	case n < 78 && other != p && p.leader != nil:
		w.say("> %s hears %s", p.name, other.name)
		w.hears(p, other)
	case n < 84 && other != p && p.leader != nil:
		w.say("> %s switches to %s", p.name, other.name)
		w.step(p, Switchover{w.operator(p), other.name})
	case n < 87 && p.leader != nil && p.operator != 0:
		w.say("> %s gives up", p.name)
		w.step(p, GaveUp{p.operator, context.Canceled})
	case n < 89 && force && p.leader != nil:
		w.say("> %s takes over", p.name)
		w.step(p, Takeover{Call: w.operator(p)})
	case n < 92 && p.leads() && r.IntN(2) == 0:
		w.say("> %s steps down", p.name)
		w.stepsDown(p, n == 91)
	case n < 92 && p.leader != nil:
		w.say("> %s dies", p.name)
		w.dies(p, n == 91)
	case n < 98 && !p.leads():
		w.say("> %s leads", p.name)
		w.leads(p)
	case n == 98:
		w.say("> %s trims its log", p.name)
		p.trimmed = p.state().Cursor.Position
	case n == 99 && p.leader != nil:
		w.say("> %s takes back", p.name)
		w.step(p, Abort{w.operator(p)})
	case n < 84:
	default:
		w.say("> wait")
		w.wait([]time.Duration{testLimits.Again, testLimits.Retry, testLimits.Handover}[r.IntN(3)])
	}
}
