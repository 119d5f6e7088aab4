package etcdapi

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What came of a write that asked for other regions: see Options.OnDurable.
const (
	DurableHad     = "had"
	DurableLate    = "late"
	DurableRefused = "refused"
	DurableFailed  = "failed"
)

// durableBytes is what a write that waits for other regions counts for beside its command.
const durableBytes = 8 << 10

// durables are the bytes of the writes under way that wait for other regions: those of a region that is away come
// together for as long as they may wait.
type durables struct{ bytes atomic.Int64 }

// begin admits a write of a client that waits for other regions, unless too many do, and returns how it is to be ended.
func (d demand) begin(a *API, who *asker, command int) (end func(error), err error) {
	if d.local() {
		return func(error) {}, nil
	}
	bytes, most := int64(command)+durableBytes, a.limits.now().DurableBytes
	if now := a.durables.bytes.Add(bytes); now > most && now > bytes {
		a.durables.bytes.Add(-bytes)
		a.onDurable(d.said.kind(), DurableRefused, 0)
		return nil, status.Errorf(codes.ResourceExhausted, "mimir: nothing was written: the writes that wait at this "+
			"node for other regions come to %d bytes already: try again later", now-bytes)
	}
	began := a.clock.Now()
	return func(err error) {
		a.durables.bytes.Add(-bytes)
		outcome := DurableHad
		if err != nil {
			outcome = cmp.Or(who.outcome, DurableFailed)
		}
		a.onDurable(d.said.kind(), outcome, a.clock.Now().Sub(began))
	}, nil
}

// timeoutOf is how long a write may take: where the primary is silent that is not longer because of other regions.
func timeoutOf(a *API, d demand) time.Duration {
	patience, bound := a.patience(), a.limits.now()
	if d.local() || patience < bound.RequestTimeout {
		return patience
	}
	return bound.Durability.Timeout
}

// whileHeard returns the context for a write. One that may wait for other regions for longer than a request may take
// does not wait for a primary that long: it ends when there is none by then, or at any time later.
func (d demand) whileHeard(ctx context.Context, a *API) (context.Context, context.CancelFunc) {
	timeout, every := timeoutOf(a, d), a.limits.now().RequestTimeout
	bounded, cancel := context.WithTimeout(ctx, timeout)
	if d.local() || timeout <= every {
		return bounded, cancel
	}
	go func() {
		again := a.clock.NewTicker(every)
		defer again.Stop()
		for {
			select {
			case <-bounded.Done():
				return
			case <-again.C():
			}
			h := a.recentHealth()
			if leaderless := decides(h) && h.LeaderRaftID == 0; leaderless || unheard(h) >= every {
				cancel()
				return
			}
		}
	}()
	return bounded, cancel
}
