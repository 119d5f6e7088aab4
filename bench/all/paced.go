package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// call is a request that was due at a time, counted from the beginning, and took so long from then on: what waits for
// the ones before it is late too.
type call struct {
	due, took time.Duration
	failed    bool
}

// ends is when it was answered.
func (c *call) ends() time.Duration { return c.due + c.took }

// paced is a load at a rate, whatever the servers do.
type paced struct {
	perSecond float64
	callers   int
	timeout   time.Duration // of one request
}

// drive calls do so long, or until ctx ends, and returns the calls in the order in which they were due. do is told who
// calls: nobody calls twice at a time.
func (p paced) drive(ctx context.Context, lasts time.Duration, do func(ctx context.Context, caller int) error) []call {
	each := make([][]call, p.callers)
	began := time.Now()
	var all sync.WaitGroup
	for i := range p.callers {
		all.Go(func() {
			for n := 0; ; n++ {
				due := time.Duration(float64(n*p.callers+i) / p.perSecond * float64(time.Second))
				if due >= lasts || time.Since(began) >= lasts || !until(ctx, began.Add(due)) {
					return
				}
				bounded, done := context.WithTimeout(ctx, p.timeout)
				err := do(bounded, i)
				done()
				if ctx.Err() != nil {
					return
				}
				each[i] = append(each[i], call{due, time.Since(began) - due, err != nil})
			}
		})
	}
	all.Wait()
	calls := slices.Concat(each...)
	slices.SortFunc(calls, func(a, b call) int { return int(a.due - b.due) })
	return calls
}

// until waits for a time, and is false if ctx ended before.
func until(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// answers sums up calls: how long those took that were answered, and how many were not.
func answers(calls []call) (took *bench.Histogram, failed int) {
	took = &bench.Histogram{}
	for i := range calls {
		if calls[i].failed {
			failed++
			continue
		}
		took.Add(calls[i].took)
	}
	return took, failed
}

// silence is the longest time from one on in which nothing was answered, and begins no later than within.
func silence(calls []call, from, within time.Duration) (begins, ends time.Duration) {
	times := []time.Duration{from}
	for i := range calls {
		if c := &calls[i]; !c.failed && c.ends() > from {
			times = append(times, c.ends())
		}
	}
	slices.Sort(times)
	begins, ends = from, from
	for i := 1; i < len(times) && times[i-1] <= from+within; i++ {
		if times[i]-times[i-1] > ends-begins {
			begins, ends = times[i-1], times[i]
		}
	}
	return begins, ends
}

// outside leaves out the calls that were due in a time or were still under way in it.
func outside(calls []call, from, to time.Duration) (kept []call) {
	for _, c := range calls {
		if c.ends() < from || c.due >= to {
			kept = append(kept, c)
		}
	}
	return kept
}

// slowest returns the n-th part of calls that took longest.
func slowest(calls []call, n int) []call {
	all := slices.Clone(calls)
	slices.SortFunc(all, func(a, b call) int { return cmp.Compare(b.took, a.took) })
	return all[:len(all)/n]
}

// dueWithin returns which part of calls was due in a time.
func dueWithin(calls []call, from, to time.Duration) float64 {
	n := 0
	for _, c := range calls {
		if c.due >= from && c.due < to {
			n++
		}
	}
	return float64(n) / float64(max(1, len(calls)))
}

// byTime tells the p99 of calls by when they were due.
func byTime(calls []call, each time.Duration) string {
	var parts []string
	for len(calls) > 0 {
		end := calls[0].due/each*each + each
		n := slices.IndexFunc(calls, func(c call) bool { return c.due >= end })
		if n < 0 {
			n = len(calls)
		}
		took, _ := answers(calls[:n])
		parts = append(parts, fmt.Sprintf("%v %v", end-each, took.Quantile(0.99).Round(time.Millisecond)))
		calls = calls[n:]
	}
	return strings.Join(parts, ", ")
}
