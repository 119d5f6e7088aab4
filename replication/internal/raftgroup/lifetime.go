package raftgroup

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// lifetime is how long a group lasts: its goroutines, and why they end.
//
//  1. The first cause counts: what fails once the end has begun is a consequence of it.
//  2. Once wait has returned, no goroutine of the group runs and none will.
//  3. Whoever finds the mailbox closed, or the loop gone, finds the cause: cause waits for it.
//  4. A failure from inside is told once, on a goroutine that wait does not wait for: whoever is told may stop the
//     group.
//
// Its methods are safe for concurrent use. It is what [peers.Lifetime] asks for.
type lifetime struct {
	log     *slog.Logger
	context context.Context
	cancel  context.CancelCauseFunc
	box     closer
	onFatal func(error) // may be nil
	failing sync.Once

	mu      sync.Mutex
	running sync.WaitGroup // added to under mu, while not closed
	closed  bool
}

// closer takes no more work once it is closed.
type closer interface{ close() }

var _ peers.Lifetime = (*lifetime)(nil)

// newLifetime returns one that has begun. Its end closes the box.
func newLifetime(log *slog.Logger, box closer, onFatal func(error)) *lifetime {
	l := &lifetime{log: log, box: box, onFatal: onFatal}
	l.context, l.cancel = context.WithCancelCause(context.Background())
	return l
}

// Context ends with the group; its cause is an error that is ErrStopped.
func (l *lifetime) Context() context.Context { return l.context }

// cause is what callers get once the group has ended, or is about to: a loop that panics is gone a moment before the
// end begins, and must not pass for one that was stopped.
func (l *lifetime) cause() error {
	<-l.context.Done()
	return context.Cause(l.context)
}

// Spawn runs f on a goroutine that wait waits for; false if the group has been stopped. A panic stops the node: it is
// how raft reports a broken invariant.
func (l *lifetime) Spawn(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Add(1)
	go func() {
		defer l.running.Done()
		defer func() {
			if r := recover(); r != nil {
				l.log.Debug("panic", "err", r, "stack", string(debug.Stack()))
				l.fail(broken(r))
			}
		}()
		f()
	}()
	return true
}

// broken is the error of a panic. What an error among them wraps stays known: raft panics also when it cannot read.
func broken(panicked any) error {
	if err, ok := panicked.(error); ok {
		return fmt.Errorf("%w: %w", ErrInvariant, err)
	}
	return fmt.Errorf("%w: %v", ErrInvariant, panicked)
}

// run spawns a part of the group that runs until the end; its error, before that, stops the node.
func (l *lifetime) run(part func(context.Context) error) {
	l.Spawn(func() {
		if err := part(l.context); err != nil {
			l.fail(err)
		}
	})
}

// halt begins the end.
func (l *lifetime) halt(cause error) {
	l.cancel(cause)
	l.box.close()
}

// fail stops the group from inside.
func (l *lifetime) fail(err error) {
	if l.context.Err() != nil {
		return // stopping already
	}
	l.failing.Do(func() {
		l.halt(fmt.Errorf("%w: %w", ErrStopped, err))
		l.log.Error("node must stop", "err", err)
		if l.onFatal != nil {
			go l.onFatal(err)
		}
	})
}

// wait lets nothing begin any more, and returns when everything has ended. halt comes before it.
func (l *lifetime) wait() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.running.Wait()
}
