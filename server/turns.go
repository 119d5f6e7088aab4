package server

import (
	"context"
	"sync"
	"time"
)

// turnTime is how long what was ended may take to let go of its place before the next one begins beside it. A folder on
// a disk that hangs lets nobody go.
const turnTime = 10 * time.Second

// turns runs one thing after another: the next begins when the one before has let go of everything, or has not within
// turnTime. The zero value has none. It is safe for concurrent use.
type turns[T runner] struct {
	mu     sync.Mutex
	one    T                  // the zero value: none
	last   T                  // the last that was one; the zero value: none was
	end    context.CancelFunc // of what runs
	former int                // how many were ended and go on
}

// runner is what takes a turn, until ctx ends.
type runner interface {
	comparable
	Run(ctx context.Context)
}

// now returns the one whose turn it is.
func (t *turns[T]) now() T {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.one
}

// before returns the one that another one would come after: that whose turn it is, or was before there was none.
func (t *turns[T]) before() T {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// stuck returns how many were ended longer than turnTime ago, and go on.
func (t *turns[T]) stuck() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.former
}

// next gives the turn to another one, or to none. It waits for nobody.
func (t *turns[T]) next(one T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.one = one
	if one != *new(T) {
		t.last = one
	}
	if t.end != nil {
		t.end()
	}
}

// run has them run until ctx ends, each by a call of carry, and tells late of those that are not waited for any longer.
func (t *turns[T]) run(ctx context.Context, carry func(func()), late func(T)) {
	for ctx.Err() == nil {
		within, end := context.WithCancel(ctx)
		t.mu.Lock()
		one := t.one
		t.end = end
		t.mu.Unlock()
		done := make(chan struct{})
		carry(func() {
			defer close(done)
			if one != *new(T) {
				one.Run(within)
			}
		})
		<-within.Done()
		end()
		if t.await(ctx, done) || ctx.Err() != nil {
			continue
		}
		late(one)
		t.count(1)
		carry(func() {
			<-done
			t.count(-1)
		})
	}
}

// await returns false if what was ended goes on, and is not waited for.
func (t *turns[T]) await(ctx context.Context, done <-chan struct{}) bool {
	timer := time.NewTimer(turnTime)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	case <-timer.C:
		return false
	}
}

func (t *turns[T]) count(more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.former += more
}
