package throttle

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// Least is the lowest cap in bytes a second; a lower one counts as this. With less, a message could take longer than
// anybody waits for it.
const Least = 16 << 10

// lookEvery is how often who is held looks whether there is another cap.
const lookEvery = time.Second / 10

// Throttle has the caps of all regions. It is safe for concurrent use.
type Throttle struct {
	clock clock.Clock
	rate  func(region string, now time.Time) int64

	mu      sync.Mutex
	buckets map[string]*bucket
}

// New returns a Throttle with the caps that rate returns, in bytes a second; zero: none.
func New(c clock.Clock, rate func(region string, now time.Time) int64) *Throttle {
	return &Throttle{clock: c, rate: rate, buckets: map[string]*bucket{}}
}

// Rate returns the cap of a region at this moment, zero if it has none.
func (t *Throttle) Rate(region string) int64 {
	if t == nil {
		return 0
	}
	return t.rateAt(region, t.clock.Now())
}

func (t *Throttle) rateAt(region string, now time.Time) int64 {
	rate := t.rate(region, now)
	if rate <= 0 {
		return 0
	}
	return max(rate, Least)
}

// Hold returns once something may go to a region. It looks and does meanwhile, whose error it returns, each time
// something wakes it, and at least ten times a second; and ends with ctx.
func (t *Throttle) Hold(ctx context.Context, region string, wake <-chan struct{}, meanwhile func() error) error {
	if t == nil {
		return nil
	}
	for {
		now := t.clock.Now()
		wait := t.due(region, now)
		if wait <= 0 {
			return nil
		}
		timer := t.clock.NewTimer(min(wait, lookEvery))
		select {
		case <-timer.C():
		case <-wake:
		case <-ctx.Done():
		}
		timer.Stop()
		t.holds(region, now)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := meanwhile(); err != nil {
			return err
		}
	}
}

// Sent notes that so many bytes went to a region.
func (t *Throttle) Sent(region string, bytes int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(region).take(bytes)
}

func (t *Throttle) due(region string, now time.Time) time.Duration {
	rate := t.rateAt(region, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of(region).due(rate, now)
}

// holds notes that something waited since.
func (t *Throttle) holds(region string, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.buckets[region]; b != nil { // else it was forgotten meanwhile
		b.held += max(t.clock.Now().Sub(since), 0)
	}
}

// of returns the bucket of a region. t.mu is held.
func (t *Throttle) of(region string) *bucket {
	b := t.buckets[region]
	if b == nil {
		b = &bucket{}
		t.buckets[region] = b
	}
	return b
}

// Forget forgets a region that is not one of the fleet any more: what comes under its name is another one.
func (t *Throttle) Forget(region string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.buckets, region)
}

// Status is how a region is held.
type Status struct {
	Region string
	Rate   int64         // the cap at this moment, zero: none
	Held   time.Duration // for how long something waited for it, since the start
}

// Status returns the regions to which something went or waits to go, by name.
func (t *Throttle) Status() (list []Status) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	held := map[string]time.Duration{}
	for region, b := range t.buckets {
		held[region] = b.held
	}
	t.mu.Unlock()
	for _, region := range slices.Sorted(maps.Keys(held)) {
		list = append(list, Status{Region: region, Rate: t.Rate(region), Held: held[region]})
	}
	return list
}
