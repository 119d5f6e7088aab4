package watch

import (
	"context"

	"github.com/mimir-kv/mimir/kv/command"
)

// Watcher yields events in order of revision, each once (invariant 11). It follows the applier in memory while it
// keeps up, and reads from disk while it does not; it never holds the applier up. Next is called by one goroutine at
// a time; everything else is safe for concurrent use.
type Watcher struct {
	hub      *Hub
	request  Request
	span     command.Span
	created  int64
	wake     chan struct{}
	position position // guarded by Hub.mu, but for minimum, which never changes
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
// yielded were compacted, or if it started in the gap of a lossy reign; ErrRewound; ErrClosed; what the hub was
// closed with. The context's error does not end it.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	for {
		batch, read, err := w.take()
		if err != nil || len(batch.Events) > 0 {
			return batch, err
		}
		if read != nil {
			batch, err = w.catchUp(ctx, read)
			if err != nil || len(batch.Events) > 0 {
				return batch, err
			}
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// diskRead is a stretch to be read from the content that the store has.
type diskRead struct {
	stretch
	generation uint64
	bytes      int // where the batch is closed
}

// take returns what waits in memory, or else what has to be read from disk, or neither.
func (w *Watcher) take() (Batch, *diskRead, error) {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	w.position.done()
	if err := w.position.err; err != nil {
		return Batch{}, nil, err
	}
	batch, read := w.position.take(h.now.Revision, &h.limits)
	if read == nil {
		return batch, nil, nil
	}
	bytes := h.limits.CatchUpBytes
	if h.memory.queued+h.memory.taken+bytes > h.limits.TotalBytes {
		bytes = h.limits.TightBytes
	}
	w.position.takes(bytes) // about: it is read next
	return batch, &diskRead{stretch: *read, generation: h.generation, bytes: bytes}, nil
}

// catchUp reads a stretch of history and settles where the watcher is after it.
func (w *Watcher) catchUp(ctx context.Context, read *diskRead) (Batch, error) {
	batch, err := w.readEvents(ctx, read)
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &w.position
	if p.err != nil {
		return Batch{}, p.err
	}
	if h.generation != read.generation {
		return Batch{}, ctx.Err() // the store was replaced; the position is set already
	}
	if err == nil {
		p.read(&read.stretch, batch.Revision)
		return batch, nil
	}
	p.unread(&read.stretch)
	if ctx.Err() == nil {
		w.end(err)
	}
	return Batch{}, err
}
