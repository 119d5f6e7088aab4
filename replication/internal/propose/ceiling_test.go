package propose

import (
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// TestATenureOutlastsItsCeiling: at the ceiling no frames are made, and what was decided in the tenure is not over.
func TestATenureOutlastsItsCeiling(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	tenure := b.tenureNow()
	waiting := b.put(10)
	b.ceiling = true
	b.evaluate()
	if b.check(); len(b.back) != 1 || b.back[0] != waiting || b.tenureNow() != tenure {
		t.Fatalf("%d came back; tenure %+v, was %+v", len(b.back), b.tenureNow(), tenure)
	}
	if b.enqueue(b.propose(10)) || b.step() || len(b.log) != 0 {
		t.Fatalf("%d frames beyond the ceiling", len(b.log))
	}
	b.ceiling = false
	b.evaluate()
	b.put(10)
	b.step()
	if f := b.frames(); len(f) != 1 || f[0].First != 11 || b.tenureNow() != tenure {
		t.Fatalf("frames %+v, tenure %+v", f, b.tenureNow())
	}
}

// TestATenureEndsAtItsCeilingToo: by a control, a lost lease or another leader.
func TestATenureEndsAtItsCeilingToo(t *testing.T) {
	for what, end := range map[string]func(b *bench){
		"a seal":        func(b *bench) { b.ask(99, true); b.step() },
		"no lease":      func(b *bench) { b.writes = false; b.evaluate() },
		"a later term":  func(b *bench) { b.lead(6) },
		"another leads": func(b *bench) { b.stepDown() },
	} {
		b := newBench(t)
		b.lead(5)
		b.ceiling = true
		b.evaluate()
		end(b)
		if b.check(); b.tenureNow() != (contract.Tenure{}) {
			t.Errorf("%s: tenure %+v", what, b.tenureNow())
		}
	}
}

// TestWhatIsDecidedAtTheCeilingIsWritten when it rises, unless the tenure ends before, or nobody waits for it.
func TestWhatIsDecidedAtTheCeilingIsWritten(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, _ *member) {
		bound := Options{Bound: true, Tenure: a.Tenure()}
		set := func(change func()) {
			a.mu.Lock()
			change()
			a.mu.Unlock()
			a.Evaluate()
		}
		decide := func(what string) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := a.put(t.Context(), what, bound)
				done <- err
			}()
			time.Sleep(time.Minute)
			return done
		}
		a.hold() // what was in the line when the ceiling was met
		before := decide("before")
		set(func() { a.ceiling = true })
		at := decide("at the ceiling")
		if a.Tenure() != bound.Tenure || a.frames() != 1 {
			t.Errorf("tenure %+v, %d frames", a.Tenure(), a.frames())
		}
		set(func() { a.holding = false })
		a.release()
		set(func() { a.ceiling = false })
		if err := errors.Join(<-before, <-at); err != nil || a.frames() != 2 {
			t.Errorf("%v, %d frames", err, a.frames())
		}
		set(func() { a.ceiling = true })
		lost := decide("lost")
		set(func() { a.may = false })
		if err := <-lost; !errors.Is(err, contract.ErrNotLeader) || a.frames() != 2 {
			t.Errorf("after the tenure: %v, %d frames", err, a.frames())
		}
	})
}

// TestAFrameThatMeetsTheCeilingComesBack: what was claimed for it is in no frame.
func TestAFrameThatMeetsTheCeilingComesBack(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	u := b.put(10)
	f, _, opening, _ := b.nextFlight()
	b.ceiling = true
	b.evaluate()
	if b.register(f, opening) {
		t.Fatal("a frame beyond the ceiling")
	}
	b.requeue(f.proposals)
	b.ceiling = false
	b.evaluate()
	b.enqueue(u)
	b.step()
	b.told(region.Outcome{Term: 5, Index: 1, Epoch: 3, First: 11})
	if b.ends[u] != 1 || b.results[u].err != nil {
		t.Errorf("told %d times: %+v", b.ends[u], b.results[u])
	}
}
