package throttle

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

const kib = 1 << 10

func nothing() error { return nil }

// send has messages of one size go to a region for a while, and returns how many bytes went.
func send(t *testing.T, h *Throttle, region string, size int, d time.Duration) (bytes int64) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for h.Hold(ctx, region, nil, nothing) == nil && ctx.Err() == nil {
		bytes += int64(size)
		h.Sent(region, size)
	}
	return bytes
}

// In any time no more goes than the cap allows, a little, and one message (H1); and not much less.
func TestNoMoreGoesThanTheCapAllows(t *testing.T) {
	for _, size := range []int{100, kib, 64 * kib, 512 * kib} {
		virtual.Test(t, func(t *testing.T) {
			const rate = 64 * kib
			h := New(clock.Real, func(string, time.Time) int64 { return rate })
			for _, d := range []time.Duration{10 * time.Second, time.Minute} {
				got := send(t, h, "eu", size, d)
				most := int64(d.Seconds()*rate) + rate/4 + int64(size)
				if got > most || got < most-rate/2-2*int64(size) {
					t.Errorf("in %v %d bytes went in messages of %d, the cap allows %d", d, got, size, most)
				}
			}
			if s := h.Status(); len(s) != 1 || s[0].Region != "eu" || s[0].Rate != rate || s[0].Held < 60*time.Second {
				t.Errorf("of 70 s %+v", s)
			}
		})
	}
}

// Another cap counts within a second, and what cannot wait is done meanwhile (H2).
func TestAnotherCapCountsAtOnce(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var rate atomic.Int64
		rate.Store(64 * kib)
		h := New(clock.Real, func(string, time.Time) int64 { return rate.Load() })
		h.Sent("eu", 640*kib)
		time.AfterFunc(3*time.Second, func() { rate.Store(0) })
		began, looked := time.Now(), 0
		err := h.Hold(t.Context(), "eu", nil, func() error { looked++; return nil })
		if took := time.Since(began); err != nil || took < 3*time.Second || took > 4*time.Second || looked < 3 {
			t.Errorf("after %v, with %d looks: %v", took, looked, err)
		}
		rate.Store(1) // counts as Least
		h.Sent("eu", 640*kib)
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		broken := errors.New("broken")
		began = time.Now()
		err = h.Hold(t.Context(), "eu", wake, func() error { return broken })
		if took := time.Since(began); err != broken || took > 0 {
			t.Errorf("after %v: %v", took, err)
		}
		if got := h.Rate("eu"); got != Least {
			t.Errorf("a cap of one byte a second is %d", got)
		}
	})
}

// What waits for one region keeps nothing from another (H3), and ends with its context.
func TestNoRegionWaitsForAnother(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := New(clock.Real, func(region string, _ time.Time) int64 {
			return map[string]int64{"slow": Least, "quick": 1 << 20}[region]
		})
		h.Sent("slow", 1<<30)
		ctx, cancel := context.WithCancelCause(t.Context())
		done, why := make(chan error), errors.New("gone")
		go func() { done <- h.Hold(ctx, "slow", nil, nothing) }()
		time.Sleep(time.Minute)
		began := time.Now()
		if send(t, h, "quick", kib, time.Second) < 1<<19 || time.Since(began) > 2*time.Second {
			t.Error("a region without much of a cap waits")
		}
		if send(t, h, "free", 1<<30, 0) != 0 || h.Hold(t.Context(), "free", nil, nothing) != nil {
			t.Error("a region without a cap waits")
		}
		cancel(why)
		if err := <-done; err != why {
			t.Error(err)
		}
		var none *Throttle
		if none.Sent("eu", 1); none.Hold(t.Context(), "eu", nil, nothing) != nil || none.Rate("eu") != 0 {
			t.Error("no throttle throttles")
		}
	})
}

// A region that is gone is not told of any more, and another one under its name owes nothing.
func TestARegionThatIsGoneIsForgotten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := New(clock.Real, func(string, time.Time) int64 { return Least })
		h.Sent("eu", 100*Least)
		h.Sent("ap", 1)
		h.Forget("eu")
		if s := h.Status(); len(s) != 1 || s[0].Region != "ap" {
			t.Errorf("%+v", s)
		}
		began := time.Now()
		if err := h.Hold(t.Context(), "eu", nil, nothing); err != nil || time.Since(began) > time.Second {
			t.Errorf("it waits %v for what another one got: %v", time.Since(began), err)
		}
		(*Throttle)(nil).Forget("eu")
	})
}
