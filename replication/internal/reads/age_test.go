package reads

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// A read with a bound costs one confirmation in that time, and is refused when there is none.
func TestAReadIsNoOlderThanItMayBe(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		us.set(func() { us.index = 5 })
		within := func(age time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return eu.Within(ctx, age)
		}
		confirms := func() int {
			us.mu.Lock()
			defer us.mu.Unlock()
			return us.confirms
		}
		for _, c := range []struct {
			after, age time.Duration
			confirms   int
		}{
			{0, time.Second, 1},           // nothing was confirmed before
			{time.Second, time.Second, 1}, // just young enough
			{time.Millisecond, time.Second, 2},
			{0, time.Hour, 2},
			{0, 0, 2}, // no time has passed
			{time.Nanosecond, 0, 3},
		} {
			time.Sleep(c.after)
			if err := within(c.age); err != nil || confirms() != c.confirms {
				t.Fatalf("%+v: %d confirmations, %v", c, confirms(), err)
			}
		}
		us.set(func() { us.route, us.open, us.settled = eu.route, false, false }) // nobody is primary
		time.Sleep(time.Second)
		if err := within(2 * time.Second); err != nil {
			t.Errorf("a read that is young enough needs nobody: %v", err)
		}
		if err := within(time.Second / 2); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("a read that is too old: %v", err)
		}
	})
}
