// Package life is a node from its making to its end: whether it may be called, what ends every wait, and which work has
// to be over before it is gone.
//
// It promises that a state is only ever left forward (made, starting, ready, ended), that the first reason for an end
// is the one that every call is told, and that nothing begins after the end. It leaves to its neighbours what starting
// and ending mean.
package life

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
)

// ErrStarted says that a node was started before.
var ErrStarted = fmt.Errorf("%w: started already", contract.ErrArgument)

// errExited says that what a node ran was left in the middle.
var errExited = errors.New("a goroutine was ended before it was done")

type stage int

const (
	made stage = iota
	starting
	ready
	ended
)

// Life is safe for concurrent use; none of its methods but Wait and Pause block.
type Life struct {
	clock  clock.Clock
	logger *slog.Logger
	ctx    context.Context // ends with the node
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	stage   stage
	started time.Time // when it became ready
	failure error     // why it ended
	work    sync.WaitGroup
}

// New returns a node's life before its start.
func New(c clock.Clock, logger *slog.Logger) *Life {
	l := &Life{clock: c, logger: logger, done: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Begin claims the one start. Whoever did calls EndStart when it is over, however it went: until then Wait waits.
// Errors: ErrStarted, and what ended the node before it was started.
func (l *Life) Begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.stage {
	case made:
		l.stage = starting
		l.work.Add(1) // with the lock, so that whoever waits after the end waits for it
		return nil
	case ended:
		return l.failure
	default:
		return ErrStarted
	}
}

// EndStart says that the start is over. If the node is not ready then, the start failed and left nothing behind, and
// the node may be started again.
func (l *Life) EndStart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == starting {
		l.stage = made
	}
	l.work.Done()
}

// Ready says that the node is built and may be called. Error: what ended the node while it was starting.
func (l *Life) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == ended {
		return l.failure
	}
	l.stage, l.started = ready, l.clock.Now()
	return nil
}

// Fail ends the node loudly: it can no longer keep an invariant. Only the first reason counts.
func (l *Life) Fail(cause error) {
	if l.end(fmt.Errorf("%w: %w", contract.ErrStopped, cause)) {
		l.logger.Error("node stops itself", "err", cause)
	}
}

// Close ends the node because its owner wants so.
func (l *Life) Close() { l.end(contract.ErrClosed) }

func (l *Life) end(why error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == ended {
		return false
	}
	l.stage, l.failure = ended, why
	close(l.done)
	l.cancel()
	return true
}

// Err returns why a call cannot be served: nil while the node is ready, ErrNotReady before, and afterwards what ended
// it.
func (l *Life) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.stage {
	case ready:
		return nil
	case ended:
		return l.failure
	default:
		return fmt.Errorf("%w: not started", contract.ErrNotReady)
	}
}

// Failure returns what ended the node, nil while nothing did.
func (l *Life) Failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// Started returns when the node became ready; ok is false if it never did.
func (l *Life) Started() (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started, !l.started.IsZero()
}

// Stopped is closed when the node ends.
func (l *Life) Stopped() <-chan struct{} { return l.done }

// Context ends with the node.
func (l *Life) Context() context.Context { return l.ctx }

// Go runs f until it returns, which it must soon after its context ends with the node. Only what is waited for itself
// may call it: a start, and what Go runs. A panic of f ends the node, as Fail does, and not the process,
// and so does a runtime.Goexit in it.
func (l *Life) Go(f func(ctx context.Context)) {
	l.work.Go(func() {
		returned := false
		defer func() {
			if r := recover(); r != nil {
				l.logger.Debug("panic", "stack", string(debug.Stack()))
				l.Fail(fmt.Errorf("panic: %v", r))
			} else if !returned {
				l.Fail(errExited)
			}
		}()
		f(l.ctx)
		returned = true
	})
}

// Try is Go for whoever may come at any time: it reports whether the node had not ended, and f runs.
func (l *Life) Try(f func(ctx context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == ended {
		return false
	}
	l.Go(f) // with the lock, so that whoever waits after the end waits for it
	return true
}

// Wait returns when a start under way is over, and everything that Go and Try began has returned. It is called after
// the end.
func (l *Life) Wait() { l.work.Wait() }

// Pause waits for d, or returns why not: that the context ended, or what ended the node.
func (l *Life) Pause(ctx context.Context, d time.Duration) error {
	t := l.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return contract.Ended(ctx)
	case <-l.done:
		return l.Failure()
	}
}
