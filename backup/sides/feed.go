package sides

import (
	"context"

	"golang.org/x/sync/semaphore"
)

const (
	// aheadBytes is what is held of what was watched and is not done with yet, and aheadRevisions how many those are.
	aheadBytes     = 16 << 20
	aheadRevisions = 256
)

// Feed reads a watch ahead of whoever takes its revisions, within a bound. It is used by one goroutine.
type Feed struct {
	revisions chan *Revision // closed at the end
	err       error          // why, then
	room      *semaphore.Weighted
}

// NewFeed reads w until that ends, or ctx does; then the caller calls Drain.
func NewFeed(ctx context.Context, w *Watch) *Feed {
	f := &Feed{revisions: make(chan *Revision, aheadRevisions), room: semaphore.NewWeighted(aheadBytes)}
	go f.run(ctx, w)
	return f
}

func (f *Feed) run(ctx context.Context, w *Watch) {
	defer close(f.revisions)
	for {
		r, err := w.Next()
		if err == nil {
			err = f.room.Acquire(ctx, min(r.Bytes, aheadBytes))
		}
		if err != nil {
			f.err = err
			return
		}
		select {
		case f.revisions <- r:
		case <-ctx.Done():
			f.err = ctx.Err()
			return
		}
	}
}

// Revisions are given out in order. The channel is closed when nothing more comes: Err says why.
func (f *Feed) Revisions() <-chan *Revision { return f.revisions }

// Err says why the feed has ended, once Revisions is closed.
func (f *Feed) Err() error { return f.err }

// Done says that revisions are held no more.
func (f *Feed) Done(those ...*Revision) {
	for _, r := range those {
		f.room.Release(min(r.Bytes, aheadBytes))
	}
}

// Drain waits for the end of a feed whose context has ended: nothing outlives it.
func (f *Feed) Drain() {
	for range f.revisions {
	}
}
