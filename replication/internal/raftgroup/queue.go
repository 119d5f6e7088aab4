package raftgroup

import (
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/wake"
)

// queue hands items of any number of goroutines to one that takes all that wait at once. What may wait is bounded by
// those who push: raft limits what it has under way.
type queue[T any] struct {
	wake wake.Signal

	mu    sync.Mutex
	items []T // that wait
	spare []T // what next returned last, to be filled again
}

func newQueue[T any]() *queue[T] { return &queue[T]{wake: wake.New()} }

// push never blocks. The queue keeps item until the call of next after the one that returned it.
func (q *queue[T]) push(item T) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.mu.Unlock()
	q.wake.Nudge()
}

// next blocks until something waits and returns all of it, or false once quit is closed. The slice is valid until the
// call after.
func (q *queue[T]) next(quit <-chan struct{}) ([]T, bool) {
	for {
		select {
		case <-quit:
			return nil, false
		default:
		}
		q.mu.Lock()
		items := q.items
		if len(items) > 0 {
			clear(q.spare)
			q.items, q.spare = q.spare[:0], items
		}
		q.mu.Unlock()
		if len(items) > 0 {
			return items, true
		}
		select {
		case <-q.wake:
		case <-quit:
			return nil, false
		}
	}
}

// emptied returns s without items, to be filled again; it keeps none of them from being collected.
func emptied[T any](s []T) []T {
	clear(s)
	return s[:0]
}
