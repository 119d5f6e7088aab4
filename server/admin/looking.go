package admin

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// lookEach is how long after one picture of the fleet was begun the next one is.
const lookEach = 50 * time.Millisecond

// looking makes pictures of the fleet, for each of which all of its nodes are asked. The next one is for all who ask
// before it is begun, so that however many ask, nodes are asked no more often than that. It is safe for concurrent use.
type looking struct {
	look   func(ctx context.Context) *replication.FleetStatus
	logger *slog.Logger

	mu    sync.Mutex
	began time.Time // the last one
	next  *picture  // nil: nobody waits for one
}

// picture is one that is to be begun, or is being made.
type picture struct {
	done  chan struct{}
	fleet *replication.FleetStatus
	err   error
}

// fleet returns a picture that was begun after the call.
func (l *looking) fleet(ctx context.Context) (*replication.FleetStatus, error) {
	l.mu.Lock()
	one := l.next
	if one == nil {
		one = &picture{done: make(chan struct{})}
		l.next = one
		// It is not only for who asks now.
		of := context.WithoutCancel(ctx)
		time.AfterFunc(max(0, time.Until(l.began.Add(lookEach))), func() { l.make(of, one) })
	}
	l.mu.Unlock()
	select {
	case <-one.done:
		return one.fleet, one.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *looking) make(ctx context.Context, one *picture) {
	defer close(one.done)
	defer func() {
		if v := recover(); v != nil {
			l.logger.Error("a picture of the fleet panicked", "err", v)
			l.logger.Debug("panic", "stack", string(debug.Stack()))
			one.err = fmt.Errorf("make a picture of the fleet: panic: %v", v)
		}
	}()
	l.mu.Lock()
	l.next, l.began = nil, time.Now()
	l.mu.Unlock()
	one.fleet = l.look(ctx)
}
