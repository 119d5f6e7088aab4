package replication

import (
	"sync"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// view is what this node has applied, hence what its region committed. It is never changed after it was made.
type view struct {
	state timeline.State
	index uint64 // applied
	term  uint64 // of the entry at index
	bytes uint64 // of history entries applied by this process
}

// board publishes the newest view and wakes whoever waits for a newer one.
type board struct {
	mu      sync.Mutex
	current *view
	wake    chan struct{} // nil while nobody waits
}

func newBoard(v *view) *board { return &board{current: v} }

func (b *board) get() *view {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}

// changed returns a channel that is closed when the view changes next. Take it before the view.
func (b *board) changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake
}

func (b *board) publish(v *view) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = v
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}
