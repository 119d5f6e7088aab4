package reads

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/transport"
)

// maxRounds is how many confirmations may be under way at once. Reads that come meanwhile share the next one.
const maxRounds = 4

// barrier lets many reads share one confirmation, which begins after all of them did.
type barrier struct {
	life    *life.Life
	clock   clock.Clock
	confirm func(ctx context.Context) (*confirmed, error)

	mu      sync.Mutex
	running int
	next    *round    // gathers readers, not begun
	fresh   time.Time // when the last confirmation began that held; zero: none did
}

type round struct {
	done chan struct{}
	// trace is the traceparent of the first of its readers that is in a trace.
	trace string
	at    *confirmed
	err   error
}

func (b *barrier) wait(ctx context.Context) (*confirmed, error) {
	b.mu.Lock()
	r := b.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		b.next = r
	}
	if r.trace == "" {
		r.trace = transport.Traceparent(ctx)
	}
	b.begin()
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.at, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, contract.Ended(ctx))
	}
}

// confirmed returns when the last confirmation began that held.
func (b *barrier) confirmed() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fresh
}

// begin starts the gathered round if there is room. The caller holds mu.
func (b *barrier) begin() {
	if b.next == nil || b.running >= maxRounds {
		return
	}
	r := b.next
	b.next = nil
	b.running++
	alive := b.life.Try(func(ctx context.Context) {
		began := b.clock.Now()
		r.at, r.err = b.confirm(transport.WithTraceparent(ctx, r.trace))
		b.mu.Lock()
		if r.err == nil && began.After(b.fresh) {
			b.fresh = began
		}
		close(r.done) // who waited finds what the round found
		b.running--
		b.begin()
		b.mu.Unlock()
	})
	if !alive {
		b.running--
		r.err = b.life.Err()
		close(r.done)
	}
}
