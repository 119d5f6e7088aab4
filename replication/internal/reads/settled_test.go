package reads

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// first is the reign of at.
var first = timeline.Reign{Epoch: 1, First: 1, Primary: "us"}

// end begins a linearizable read, has change happen while it is made, and tells when it has ended.
func (m *member) end(change func()) <-chan error {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Second)
	end, err := m.Begin(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	change()
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- end(ctx)
	}()
	virtual.Wait()
	return done
}

// TestWhatIsReadIsSettled before it is told: at once where nothing bounds the loss, or within the bound, and else by
// the primary's word, of everything that the storage may have shown.
func TestWhatIsReadIsSettled(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		for _, m := range []*member{us, eu} {
			us.applied.Publish(at("us", 5, 3))
			us.set(func() { us.bounded, us.safe, us.settles, us.asked = false, 0, make(chan struct{}), nil })
			further := func() { m.applied.Hands(4, first) }
			if err := <-m.end(further); err != nil || len(us.asked) > 0 {
				t.Errorf("without a bound: %v, asked for %d", err, us.asked)
			}
			us.set(func() { us.bounded, us.safe = true, 4 })
			if err := <-m.end(further); err != nil || len(us.asked) > 0 {
				t.Errorf("within the bound: %v, asked for %d", err, us.asked)
			}
			us.set(func() { us.safe = 3 })
			done := m.end(further) // the storage has more than is published
			pending(t, done)
			m.applied.Publish(at(m.config.Region, 6, 4))
			time.Sleep(3 * time.Second) // longer than one question
			pending(t, done)
			close(us.settles)
			if err := <-done; err != nil || slices.Contains(us.asked, 3) || len(us.asked) < 3 {
				t.Errorf("beyond the bound: %v, asked for %d", err, us.asked)
			}
		}
	})
}

// TestWhatIsNotSettledIsNotTold, nor what a later reign may have cut while it was read.
func TestWhatIsNotSettledIsNotTold(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() { us.bounded, us.settles = true, make(chan struct{}) })
		done := eu.end(func() {})
		pending(t, done)
		began := time.Now()
		if err := <-done; !errors.Is(err, contract.ErrNotReady) || time.Since(began) < 9*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		for name, before := range map[string]func(){"while it was read": cut(eu), "while it waited": func() {}} {
			eu.applied.Publish(at("eu", 6, 3))
			done := eu.end(before)
			if name == "while it waited" {
				pending(t, done)
				cut(eu)()
				close(us.settles)
			}
			if err := <-done; !errors.Is(err, contract.ErrNotReady) {
				t.Errorf("cut %s: %v", name, err)
			}
			us.set(func() { us.settles = make(chan struct{}) })
		}
	})
}

// cut has a member's region take a reign that begins before where it was, by another state.
func cut(m *member) func() {
	return func() {
		m.applied.Replaces(2, first)
		goesOn(m)()
	}
}

// goesOn has a member's region take a reign that begins where it was.
func goesOn(m *member) func() {
	return func() {
		v := at(m.config.Region, 9, 3)
		v.State.Reigns = append(v.State.Reigns, timeline.Reign{Epoch: 2, First: 4, Primary: "eu"})
		v.State.Cursor.Epoch = 2
		m.applied.Publish(v)
	}
}

// TestAReadThatAReignCameInto is asked about in that reign, and is not refused for it.
func TestAReadThatAReignCameInto(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() { us.bounded, us.safe, us.settles = true, 9, make(chan struct{}) })
		done := eu.end(goesOn(eu))
		pending(t, done)
		close(us.settles)
		if err := <-done; err != nil || len(us.asked) != 1 {
			t.Errorf("%v, asked for %d", err, us.asked)
		}
	})
}

// TestWhatIsOfTheNextReignIsAskedAbout, although the storage has it before it is known that the reign has begun: what
// the primary said up to where all is safe is of the one before.
func TestWhatIsOfTheNextReignIsAskedAbout(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() { us.bounded, us.safe, us.settles = true, 9, make(chan struct{}) })
		done := eu.end(func() { eu.applied.Hands(5, timeline.Reign{Epoch: 2, First: 4, Primary: "eu"}) })
		pending(t, done)
		close(us.settles)
		if err := <-done; err != nil || !slices.Equal(us.asked, []contract.Position{5}) {
			t.Errorf("%v, asked for %d", err, us.asked)
		}
		if seen := eu.applied.Seen(); seen.Epoch != 2 || seen.Reign.Epoch != 2 {
			t.Errorf("what was read is taken for one of %+v", seen.Place)
		}
	})
}

// TestARegionThatGoesBackInItsReign no longer has what was read, although the reign is the same until the next comes.
func TestARegionThatGoesBackInItsReign(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() { us.bounded, us.safe, us.settles = true, 3, make(chan struct{}) })
		eu.applied.Publish(at("eu", 6, 3))
		done := eu.end(func() {
			eu.applied.Hands(5, first) // a reader sees up to 5, of which 4 and 5 are not settled
			eu.applied.Publish(at("eu", 8, 5))
			eu.applied.Replaces(3, first) // to the fork
			eu.applied.Publish(at("eu", 9, 3))
		})
		if err := <-done; !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("what was cut is told: %v", err)
		}
	})
}

// TestAPrimaryThatKnowsNoBoundHoldsNoReadUp: one of a version before, which became leader while it was read.
func TestAPrimaryThatKnowsNoBoundHoldsNoReadUp(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() { us.bounded, us.fails = true, fmt.Errorf("%w: unknown question", contract.ErrRejected) })
		if err := <-eu.end(func() {}); err != nil {
			t.Error(err)
		}
	})
}

// TestARefusalSettlesNothing: only who does not know the question holds no read up.
func TestARefusalSettlesNothing(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() {
			us.bounded = true
			us.fails = fmt.Errorf("%w: node eu-1 of region eu may not have an answer", contract.ErrRejected)
		})
		if err := <-eu.end(func() {}); err == nil {
			t.Error("what was refused is taken for settled")
		}
	})
}
