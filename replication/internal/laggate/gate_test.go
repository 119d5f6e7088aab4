package laggate

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
)

// TestGate: a region stands still while the primary goes on, and comes back; the operator opens the gate; the node ends
// to lead. The log tells once of each.
func TestGate(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		said := new(bytes.Buffer)
		var mu sync.Mutex
		locked := func(do func()) {
			mu.Lock()
			defer mu.Unlock()
			do()
		}
		limits := Limits{Delay: Bound{Age: 5 * time.Second}, Refuse: Bound{Age: 15 * time.Second}}
		var end, has contract.Position
		leads := true
		g := New(Config{
			Limits: func() (l Limits) { locked(func() { l = limits }); return l }, Clock: clock.Real,
			Logger: slog.New(slog.NewTextHandler(said, nil)),
			Places: func() (at contract.Position, places []Place, is bool) {
				locked(func() { at, places, is = end, []Place{{Region: "eu", Position: has}}, leads })
				return at, places, is
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); g.Run(ctx) }()
		goesOn := func(d time.Duration, follows bool) Verdict {
			for range d / (100 * time.Millisecond) {
				locked(func() {
					if end++; follows {
						has = end
					}
				})
				time.Sleep(100 * time.Millisecond)
			}
			return g.Verdict()
		}
		if v := goesOn(time.Minute, true); v != (Verdict{}) {
			t.Errorf("who follows: %+v", v)
		}
		if v := goesOn(4*time.Second, false); v != (Verdict{}) {
			t.Errorf("after 4 s: %+v", v)
		}
		v := goesOn(6*time.Second, false)
		if v.Refuse != nil || v.Delay < 450*time.Millisecond || v.Delay > 600*time.Millisecond {
			t.Errorf("after 10 s: %+v", v)
		}
		if v := goesOn(6*time.Second, false); v.Refuse == nil {
			t.Errorf("after 16 s: %+v", v)
		}
		was := limits
		locked(func() { limits = Limits{} })
		if v := goesOn(time.Second, false); v != (Verdict{}) {
			t.Errorf("opened: %+v", v)
		}
		locked(func() { limits = was })
		if v := goesOn(time.Second, false); v != (Verdict{}) {
			t.Errorf("what was before the gate is not known: %+v", v)
		}
		if v := goesOn(20*time.Second, false); v.Refuse == nil {
			t.Errorf("closed again: %+v", v)
		}
		if v := goesOn(time.Second, true); v != (Verdict{}) {
			t.Errorf("who came back: %+v", v)
		}
		goesOn(20*time.Second, false)
		locked(func() { leads = false })
		if v := goesOn(time.Second, false); v != (Verdict{}) {
			t.Errorf("who leads no more: %+v", v)
		}
		goesOn(20*time.Second, false)
		cancel()
		<-ended
		for line, times := range map[string]int{"slowed down": 3, "refused": 3, "no writes any more": 1} {
			if n := strings.Count(said.String(), line); n != times {
				t.Errorf("%q is told %d times, not %d:\n%s", line, n, times, said)
			}
		}
	})
}

// TestAgesOutlastAMoment in which no writes are taken, such as a lease that lapsed, and a switchover that is taken
// back, in which nothing is written. Where another node led meanwhile nobody knows when what it wrote was there.
func TestAgesOutlastAMoment(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var end contract.Position
		leads := true
		g := New(Config{
			Limits: func() Limits { return Limits{Refuse: Bound{Age: 15 * time.Second}} }, Clock: clock.Real,
			Logger: slog.New(slog.DiscardHandler),
			Places: func() (contract.Position, []Place, bool) {
				mu.Lock()
				defer mu.Unlock()
				return end, []Place{{Region: "eu", Position: 1}}, leads
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); g.Run(ctx) }()
		goesOn := func(d time.Duration, writes, is bool) (refuses bool) {
			for range d / (100 * time.Millisecond) {
				mu.Lock()
				if leads = is; writes {
					end++
				}
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
			}
			return g.Verdict().Refuse != nil
		}
		if !goesOn(20*time.Second, true, true) {
			t.Error("not refused")
		}
		if goesOn(300*time.Millisecond, true, false); !goesOn(time.Second, true, true) {
			t.Error("a moment later it is")
		}
		if goesOn(10*time.Second, false, false) || !goesOn(time.Second, false, true) {
			t.Error("a switchover that is taken back opens it")
		}
		if goesOn(10*time.Second, true, false) || goesOn(time.Second, true, true) {
			t.Error("what another one wrote is told to be there for long")
		}
		cancel()
		<-ended
	})
}
