package succession

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestADecisionThatIsRefusedIsNotProposedInALoop: each kind of it, in a region whose log makes nothing of anything. It
// waits, longer each time, and what is fetched for it is not fetched more often.
func TestADecisionThatIsRefusedIsNotProposedInALoop(t *testing.T) {
	for _, c := range []struct{ fleet, script, what string }{
		{"new", "eu leads/us leads", "begin epoch 1"},
		{"fleet", "eu takes over/eu works/eu commits", "yield"},
		{"fleet", "us writes 1/eu takes over/eu works/eu commits/us hears/us commits", "diverge"},
		{"fleet", "us writes 1/eu takes over/eu works/eu commits/us hears/us commits/us works/us commits",
			"install"},
		{"fleet", "us switches to eu/us commits/us gives up/deliver 2/eu commits/deliver 3", "unseal"},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			w := newWorld(t, "us", "eu")
			if c.fleet == "fleet" {
				w.found()
			}
			for line := range strings.SplitSeq(c.script, "/") {
				w.play(strings.Fields(line))
			}
			us, eu := w.at("us"), w.at("eu")
			us.stubborn = true
			w.told()
			const patience = time.Minute
			for range patience / testLimits.Again {
				w.wait(testLimits.Again)
				for range 5 { // a step is taken after each, as often as something happens
					if w.hears(us, eu); len(us.log) > 0 {
						w.commit(us)
					}
					w.works(us)
				}
			}
			told := w.told()
			for _, words := range []string{
				"us: proposes " + c.what, "us: proposes to " + c.what, "us: begins to fetch",
			} {
				if n := strings.Count(told, words); n > 1+maxBackOff+1 {
					t.Errorf("%d times in %v: %s", n, patience, words)
				}
			}
			if n := strings.Count(told, "us: proposes"); n < 3 {
				t.Errorf("%d times in %v: nothing was proposed\n%.2000s", n, patience, told)
			}
			us.stubborn = false
			if !w.settle() || w.converged() != "" {
				t.Errorf("when the log is itself again: %s\n%.3000s", w.converged(), w.told())
			}
		})
	}
}

// TestWalksWithLostDisks: regions come back empty as well, also one that begins the fleet. An operator does what they
// ask for, and then all hold one history; nothing that a region gave up is in no tail.
func TestWalksWithLostDisks(t *testing.T) {
	n := walks / 4
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		names := []string{"us", "eu", "ap"}
		w := newWorld(t, names[:2+seed%2]...)
		r := rand.New(rand.NewPCG(uint64(seed), 11))
		w.found()
		w.told()
		for range walkSteps {
			p := w.regions[r.IntN(len(w.regions))]
			if r.IntN(40) == 0 && !w.diverges() && p.state().Refused.Handoff == 0 { // a promise goes with the disks
				w.say("> %s loses its disks", p.name)
				w.forget(p)
				continue
			}
			if w.stride(r, p, true); len(w.broken) > 0 {
				break
			}
		}
		if len(w.broken) == 0 {
			w.rescued()
		}
		if t.Failed() || len(w.broken) > 0 {
			t.Fatalf("seed %d: %s\n%s", seed, strings.Join(w.broken, "\n"), w.told())
		}
	}
}

// TestWalksBehindAForgottenReign begin where a region lost its disks, and with them a reign of its own in which nothing
// was written, and where one that heard of neither that nor the next one is there to lead it astray.
func TestWalksBehindAForgottenReign(t *testing.T) {
	n := walks / 4
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		w := newWorld(t, "us", "eu", "ap")
		r := rand.New(rand.NewPCG(uint64(seed), 13))
		w.found()
		for _, line := range []string{
			"ap dies", "us switches to eu", "settle", "eu switches to us", "settle", "ap leads", "eu loses its disks",
			"eu leads", "eu hears ap", "eu commits",
		} {
			w.play(strings.Fields(line))
		}
		w.told()
		for range walkSteps / 3 {
			if w.stride(r, w.regions[1+r.IntN(2)], false); len(w.broken) > 0 {
				break
			}
		}
		if len(w.broken) == 0 {
			w.rescued()
		}
		if t.Failed() || len(w.broken) > 0 {
			t.Fatalf("seed %d: %s\n%s", seed, strings.Join(w.broken, "\n"), w.told())
		}
	}
}

// diverges reports whether a region is on its way to another history. Should that be lost just then, its disks are the
// only ones, and it cannot go back.
func (w *world) diverges() bool {
	return slices.ContainsFunc(w.regions, func(p *place) bool {
		return p.state().Diverged != nil || slices.ContainsFunc(p.log, func(e entry) bool {
			return e.control != nil && e.control.Op == timeline.OpDiverge
		})
	})
}

// rescued brings everybody back and lets an operator force what has most, for as long as nobody takes writes.
func (w *world) rescued() {
	w.say("> everybody is back")
	for _, p := range w.regions {
		if !p.leads() {
			w.leads(p)
		}
	}
	why := ""
	for range 4 {
		w.settle()
		if why = w.converged(); why == "" || len(w.broken) > 0 {
			return
		}
		if best := w.furthest(); best != nil {
			w.say("> an operator forces %s", best.name)
			w.step(best, Takeover{Call: w.operator(best)})
		}
	}
	for _, p := range w.regions {
		if o := p.leader.Trouble(); o != nil {
			why += fmt.Sprintf("; %s: %s: %s", p.name, o.What, o.Detail)
		}
	}
	w.breaks("%s", why)
}

// furthest returns the region that has most of a history which is not at its end, and of two with as much the one with
// the later epoch: one of no epoch has none. nil while one takes writes.
func (w *world) furthest() (best *place) {
	for _, p := range w.regions {
		s := p.state()
		if s.Writable() && p.leader.claim() == timeline.Latest(s.Reigns) {
			return nil
		}
		if s.Role() != timeline.Diverged && p.leader.Trouble() == nil &&
			(best == nil || further(s.Cursor, best.state().Cursor)) {
			best = p
		}
	}
	return best
}

func further(a, b timeline.Cursor) bool {
	return a.Position > b.Position || a.Position == b.Position && a.Epoch > b.Epoch
}

// TestARegionDoesNotGoOnWithAReignThatItForgot: whatever it decided, or did not yet, and whether a stream or a copy
// would bring it.
func TestARegionDoesNotGoOnWithAReignThatItForgot(t *testing.T) {
	one, own := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}, timeline.Reign{Epoch: 2, First: 8, Primary: "eu"}
	for what, yielded := range map[string]timeline.Reign{
		"it gave way to the last one": {Epoch: 3, First: 8, Primary: "us"}, "to the first one": one, "to none": {},
	} {
		s := &timeline.State{Region: "eu", Reigns: []timeline.Reign{one}, Yielded: yielded,
			Cursor: timeline.Cursor{Epoch: 1, Position: 7}}
		from := Sight{Cursor: timeline.Cursor{Epoch: 3, Position: 9},
			Reigns: []timeline.Reign{one, own, {Epoch: 3, First: 8, Primary: "us"}}}
		v := View{Term: 1, State: s, Fleet: Fleet{Leaders: map[string]Sight{"us": from}}}
		if !forgot(v, "us") {
			t.Errorf("%s: it streams its own reign", what)
		}
		if yielded.Epoch == 3 {
			continue // the rules refuse the copy
		}
		m := New("eu", false, testLimits)
		m.now, m.view, m.term = time.Minute, View{Term: 1, State: s}, 1
		m.copied = &copied{staged: true, source: "us", Copy: Copy{ID: "c", Origin: timeline.Origin{
			Cursor: timeline.Cursor{Epoch: 2, Position: 9}, Reigns: []timeline.Reign{one, own},
		}}}
		if m.takeCopy(); len(m.out) > 0 || m.claim() != own || m.copied != nil {
			t.Errorf("%s: a copy with its own reign: %+v, claim %+v", what, m.out, m.claim())
		}
	}
}
