package propose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/laggate"
)

// gating is a gate that a test opens and closes.
type gating struct {
	mu      sync.Mutex
	verdict laggate.Verdict
	once    []laggate.Verdict // said before that, each once
}

func (g *gating) Verdict() laggate.Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.once) == 0 {
		return g.verdict
	}
	v := g.once[0]
	g.once = g.once[1:]
	return v
}

func (g *gating) set(v laggate.Verdict, once ...laggate.Verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verdict, g.once = v, once
}

func slow(d time.Duration) laggate.Verdict { return laggate.Verdict{Delay: d, Why: "eu is behind"} }

func closed() laggate.Verdict {
	return laggate.Verdict{Refuse: fmt.Errorf("%w: eu is behind", contract.ErrLagging), Why: "eu is behind"}
}

// gatedFleet is fleetOf with a gate at the node that takes writes, through which one frame has just gone.
func gatedFleet(t *testing.T, f func(t *testing.T, a, b *member, g *gating)) {
	t.Helper()
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		g := &gating{}
		a.config.Gate, a.pipeline.gate, a.router.gate = g, g, g
		if _, err := a.put(t.Context(), "first", Options{}); err != nil {
			t.Fatal(err)
		}
		f(t, a, b, g)
	})
}

// TestAGateThatOpensForgetsNobody: the gate holds a write back when the pipeline looks for its next frame, and does not
// any more when it looks for how long to wait. Nobody else comes.
func TestAGateThatOpensForgetsNobody(t *testing.T) {
	gatedFleet(t, func(t *testing.T, a, _ *member, g *gating) {
		g.set(laggate.Verdict{}, slow(time.Second), slow(time.Second)) // when it comes, and for the next frame
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if _, err := a.put(ctx, "second", Options{}); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// TestOnlyWhatIsWrittenCountsForThePace: those who give up before the gate lets the next frame go hold up nobody.
func TestOnlyWhatIsWrittenCountsForThePace(t *testing.T) {
	gatedFleet(t, func(t *testing.T, a, _ *member, g *gating) {
		g.set(slow(900 * time.Millisecond))
		wrote := 0
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			switch _, err := a.put(ctx, "hasty", Options{}); {
			case err == nil:
				wrote++
			case !errors.Is(err, contract.ErrNotReady):
				t.Error(err)
			}
			cancel()
			time.Sleep(900 * time.Millisecond)
		}
		if wrote < 18 {
			t.Errorf("%d of 20 writes, one in 900 ms, and so many may go", wrote)
		}
	})
}

// TestWhatWaitsIsRefusedWhenTheGateCloses: it is in no frame, and would come on top of the bound. What is bound to the
// tenure goes on, and is not refused later either.
func TestWhatWaitsIsRefusedWhenTheGateCloses(t *testing.T) {
	gatedFleet(t, func(t *testing.T, a, b *member, g *gating) {
		g.set(slow(time.Second))
		type answer struct {
			who string
			err error
		}
		told := make(chan answer)
		put := func(who string, m *member, o Options) {
			go func() {
				_, err := m.put(t.Context(), who+strings.Repeat("x", 700), o) // one in a frame
				told <- answer{who, err}
			}()
		}
		own := Options{Bound: true, Tenure: a.Tenure()}
		for range 5 {
			put("here", a, Options{})
			put("forwarded", b, Options{})
		}
		put("own", a, own)
		virtual.Wait()
		before := a.frames()
		g.set(closed())
		for range 11 {
			switch got := <-told; {
			case got.who == "own" && got.err != nil:
				t.Errorf("bound to the tenure: %v", got.err)
			case got.who != "own" && (!errors.Is(got.err, contract.ErrLagging) ||
				errors.Is(got.err, contract.ErrUnknownOutcome)):
				t.Errorf("%s: %v", got.who, got.err)
			}
		}
		if n := a.frames() - before; n != 0 {
			t.Errorf("%d frames behind a gate that is closed", n)
		}
		put("own", a, own)
		put("here", a, Options{})
		for range 2 {
			if got := <-told; (got.who == "own") != (got.err == nil) {
				t.Errorf("%s: %v", got.who, got.err)
			}
		}
	})
}

// TestTheGatePacesNothingOfTheTenure: leases end as they come, and not behind the writes that wait, which wait no
// longer and no shorter for that.
func TestTheGatePacesNothingOfTheTenure(t *testing.T) {
	gatedFleet(t, func(t *testing.T, a, _ *member, g *gating) {
		g.set(slow(time.Second))
		const waiting = 5
		took, began := make(chan time.Duration, waiting), time.Now()
		for range waiting {
			go func() {
				if _, err := a.put(t.Context(), strings.Repeat("x", 700), Options{}); err != nil { // one in a frame
					t.Error(err)
				}
				took <- time.Since(began)
			}()
		}
		virtual.Wait()
		for range 20 {
			since := time.Now()
			_, err := a.put(t.Context(), "own", Options{Bound: true, Tenure: a.Tenure()})
			if d := time.Since(since); err != nil || d > 10*time.Millisecond {
				t.Errorf("after %v: %v", d, err)
			}
			time.Sleep(70 * time.Millisecond)
		}
		for i := range waiting {
			if want := time.Duration(i+1) * time.Second; (<-took).Round(time.Second/10) != want {
				t.Errorf("write %d of those that wait did not take %v", i, want)
			}
		}
	})
}

// TestWhatIsPacedIsNotForgotten behind something of the tenure that nobody waits for any more.
func TestWhatIsPacedIsNotForgotten(t *testing.T) {
	b := newBench(t)
	g := &gating{}
	b.gate = g
	b.lead(5)
	b.put(10)
	b.step()
	g.set(slow(time.Hour))
	b.put(10)
	own := b.propose(10)
	own.bound, own.tenure = true, b.tenureNow()
	if !b.enqueue(own) || !own.withdraw() || b.step() {
		t.Fatal("a frame of what was given up")
	}
	again, stop := afterPace(b.pipeline)
	defer stop()
	if again == nil {
		t.Error("nobody looks again")
	}
}

// TestWhatIsBoundKeepsItsOrder goes before the rest, and stays in its own order: the parts of the end of a lease do.
func TestWhatIsBoundKeepsItsOrder(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	b.put(10)
	var own []*proposal
	for range 3 {
		u := b.propose(10)
		u.bound, u.tenure = true, b.tenureNow()
		if !b.enqueue(u) {
			t.Fatal("not taken")
		}
		own = append(own, u)
		b.put(10)
	}
	if !slices.Equal(b.queue[:3], own) || len(b.queue) != 7 {
		t.Errorf("%d wait, and what is bound is not in front as it came", len(b.queue))
	}
}
