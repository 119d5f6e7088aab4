package watch

import (
	"context"
	"errors"

	"github.com/mimir-kv/mimir/kv/command"
)

// Watcher yields events in order of revision, each once (invariant 11). It follows the applier in memory while it
// keeps up, and reads from disk while it does not; it never holds the applier up. Next and Ready are called by one
// goroutine at a time; everything else is safe for concurrent use.
type Watcher struct {
	hub      *Hub
	request  Request
	span     command.Span
	created  int64
	wake     chan struct{}
	position position // guarded by Hub.mu, but for minimum, which never changes
	place    int      // in its crowd; guarded by Hub.mu
}

// Created returns the revision of the store when the watcher was created.
func (w *Watcher) Created() int64 { return w.created }

// Progress returns a revision up to which Next has returned every event there is.
func (w *Watcher) Progress() int64 {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return w.position.progress(w.hub.now.Revision)
}

// Close ends the watcher: Next returns ErrClosed. Further calls do nothing.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.watchers.remove(w)
	w.hub.setLevel()
	w.position.done()
	w.end(ErrClosed)
}

// end makes Next return err from now on. Hub.mu is held.
func (w *Watcher) end(err error) {
	w.position.end(err)
	w.signal()
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// wants reports whether w is to see a change of its keys of this kind at this revision.
func (w *Watcher) wants(kind byte, revision int64) bool {
	return revision >= w.position.minimum && w.request.wants(kind)
}

// Next waits for events and returns them. Errors that end the watcher: *CompactedError if events it has not yet
// yielded were compacted, if it started where this history has nothing and will have nothing, or if the content was
// replaced by one that does not have what was yielded; ErrClosed; what the hub was closed with. The context's error
// does not end it.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	for {
		batch, err := w.Take()
		if err != nil || len(batch.Events) > 0 {
			return batch, err
		}
		if err := w.Ready(ctx); err != nil {
			return Batch{}, err
		}
	}
}

// Take returns what waits for the watcher in memory, without waiting: an empty batch if nothing does. Errors: as of
// Next, without the context's.
func (w *Watcher) Take() (Batch, error) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if err := w.position.err; err != nil {
		return Batch{}, err
	}
	if len(w.position.fetched.Events) == 0 {
		w.position.done()
	}
	return w.position.take(), nil
}

// Ready returns once Take may have something to return, or the watcher has ended, or it has come further by reading
// from disk; with the context's error if that is over first.
func (w *Watcher) Ready(ctx context.Context) error {
	for {
		ready, read := w.look()
		switch {
		case ready:
			return nil
		case read != nil:
			return w.catchUp(ctx, read)
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// diskRead is a stretch to be read from the content that the store has.
type diskRead struct {
	stretch
	generation uint64
	bytes      int // where the batch is closed
}

// look reports whether Take has something to return; if not, and if something has to be read from disk, it returns
// that.
func (w *Watcher) look() (ready bool, read *diskRead) {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	w.position.done()
	if w.position.ready() {
		return true, nil
	}
	s := w.position.behindBy(h.now.Revision, &h.limits)
	if s == nil {
		return false, nil
	}
	bytes := h.limits.CatchUpBytes
	if h.memory.queued+h.memory.taken+bytes > h.limits.TotalBytes {
		bytes = h.limits.TightBytes
	}
	w.position.takes(bytes) // about: it is read next
	return false, &diskRead{stretch: *s, generation: h.generation, bytes: bytes}
}

// catchUp reads a stretch of history and settles where the watcher is after it. Only the context's error is returned;
// any other ends the watcher.
func (w *Watcher) catchUp(ctx context.Context, read *diskRead) error {
	batch, bytes, err := w.readEvents(ctx, read)
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &w.position
	if p.err != nil {
		return nil
	}
	if h.generation != read.generation {
		return ctx.Err() // the store was replaced; the position is set already
	}
	if err == nil {
		p.takes(max(0, bytes-read.bytes)) // of one revision that is larger
		p.read(&read.stretch, batch)
		return nil
	}
	p.unread(&read.stretch)
	if errors.Is(err, command.ErrCompacted) { // at what is published by now
		err = &CompactedError{Revision: h.now.CompactedAt(h.now.Compact - 1)}
	}
	if ctx.Err() == nil {
		w.end(err)
	}
	return ctx.Err()
}
