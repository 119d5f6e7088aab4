package server

import (
	"context"
	"sync"
)

// turns runs one thing after another: the next begins when the one before has let go of everything. The zero value has
// none. It is safe for concurrent use.
type turns[T runner] struct {
	mu  sync.Mutex
	one T                  // the zero value: none
	end context.CancelFunc // of what runs
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

// next gives the turn to another one, or to none. It waits for nobody.
func (t *turns[T]) next(one T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.one = one
	if t.end != nil {
		t.end()
	}
}

// run has them run until ctx ends.
func (t *turns[T]) run(ctx context.Context) {
	for ctx.Err() == nil {
		within, end := context.WithCancel(ctx)
		t.mu.Lock()
		one := t.one
		t.end = end
		t.mu.Unlock()
		if one != *new(T) {
			one.Run(within)
		}
		<-within.Done()
	}
}
