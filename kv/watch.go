package kv

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// WatchRequest names the events that a Watcher yields.
type WatchRequest struct {
	// Key and RangeEnd name keys as requests of etcd do.
	Key, RangeEnd []byte
	// StartRevision is the revision of the first event wanted; it may lie in the future. 0 means everything after the revision at which
	// the watcher is created.
	StartRevision int64
	// PrevKV adds to each event the key-value before it, unless the revision before the event has been compacted.
	PrevKV bool
	// NoPut and NoDelete leave out events of a kind.
	NoPut, NoDelete bool
}

// WatchBatch is what one Next yields: all wanted events of one or more whole revisions.
type WatchBatch struct {
	// Events are shared between watchers and must not be changed. There is at least one.
	Events []*mvccpb.Event
	// Revision is the one up to which, with this batch, everything has been yielded.
	Revision int64
}

// watchLimits bounds what is kept in memory for a watcher that is slow. Past the first two it reads from disk.
type watchLimits struct {
	queuedEvents int
	queuedBytes  int
	catchUpBytes int // about how much is read from disk for one batch
	// joinRevisions is how close to the present a watcher that reads from disk has to be to be fed from memory again.
	joinRevisions int64
}

var defaultWatchLimits = watchLimits{queuedEvents: 4096, queuedBytes: 4 << 20, catchUpBytes: 1 << 20, joinRevisions: 1024}

// Watcher yields events in order of revision, each once (invariant 11). It follows the applier in memory while it
// keeps up, and reads from disk while it does not; it never holds the applier up. Next is called by one goroutine at
// a time; everything else is safe for concurrent use.
type Watcher struct {
	store    *Store
	request  WatchRequest
	span     span
	created  int64
	minimum  int64 // no events below; 0 for all
	wake     chan struct{}
	counted  bool
	position watchPosition // guarded by Store.mu
}

// watchPosition says where a watcher is. Everything up to sent has been yielded. If it is synced, the queue holds everything
// after that, except what Next is just reading from disk: from diskFrom, if that is not zero, to the queue's beginning.
// If it is not synced, the queue holds what precedes next.
type watchPosition struct {
	synced   bool
	next     int64
	diskFrom int64
	sent     int64

	queue      []*mvccpb.Event
	queueBytes int
	queuedTo   int64

	err error
}

// upTo returns the revision up to which everything is in the queue or yielded.
func (p *watchPosition) upTo(published int64) int64 {
	switch {
	case p.diskFrom != 0:
		return p.diskFrom - 1
	case p.synced:
		return published
	}
	return p.next - 1
}

func (p *watchPosition) dropQueue() { p.queue, p.queueBytes = nil, 0 }

// Watch starts a watcher, which must be closed. A start that cannot be served is reported by the first Next. Errors:
// ErrEmptyKey, ErrClosed.
func (s *Store) Watch(r WatchRequest) (*Watcher, error) {
	if len(r.Key) == 0 {
		return nil, ErrEmptyKey
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers.ended != nil {
		return nil, s.watchers.ended
	}
	st := s.state()
	w := &Watcher{
		store: s, request: r, span: newSpan(r.Key, r.RangeEnd), created: st.revision, minimum: max(r.StartRevision, 0),
		wake: make(chan struct{}, 1),
	}
	p := &w.position
	if r.StartRevision <= 0 || r.StartRevision > st.revision {
		p.synced, p.sent = true, st.revision
	} else {
		p.next, p.sent = r.StartRevision, r.StartRevision-1
		if base := st.compactedAt(r.StartRevision); base != 0 {
			p.err = &CompactedError{Revision: base}
		}
	}
	s.watchers.add(w)
	return w, nil
}

// Created returns the revision of the store when the watcher was created.
func (w *Watcher) Created() int64 { return w.created }

// Progress returns a revision up to which Next has returned every event there is.
func (w *Watcher) Progress() int64 {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	p := &w.position
	if len(p.queue) > 0 || p.err != nil {
		return p.sent
	}
	return max(p.sent, p.upTo(w.store.state().revision))
}

// Close ends the watcher: Next returns ErrClosed. Further calls do nothing.
func (w *Watcher) Close() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.watchers.remove(w)
	w.end(ErrClosed)
}

// end makes Next return err from now on. Store.mu is held.
func (w *Watcher) end(err error) {
	if w.position.err == nil {
		w.position.err = err
		w.position.dropQueue()
	}
	w.signal()
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next waits for events and returns them. Errors that end the watcher: *CompactedError if events it has not yet yielded
// were compacted, or if it started in the gap of a lossy reign; ErrRewound; ErrClosed. The context's error does not
// end it.
func (w *Watcher) Next(ctx context.Context) (WatchBatch, error) {
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
			return WatchBatch{}, ctx.Err()
		}
	}
}

// diskRead is a stretch of history that Next has to read from disk.
type diskRead struct {
	from, to   int64
	generation uint64
}

// take returns what waits in memory, or else what has to be read from disk, or neither. A watcher near the present is fed from
// memory again at once: what is published meanwhile waits in the queue behind what is read.
func (w *Watcher) take() (WatchBatch, *diskRead, error) {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &w.position
	if p.err != nil {
		return WatchBatch{}, nil, p.err
	}
	if len(p.queue) > 0 {
		batch := WatchBatch{Events: p.queue, Revision: p.queuedTo}
		p.sent = p.queuedTo
		p.dropQueue()
		return batch, nil, nil
	}
	if p.synced {
		return WatchBatch{}, nil, nil
	}
	now := s.state().revision
	read := &diskRead{from: p.next, to: now, generation: s.watchers.generation}
	p.diskFrom = p.next
	p.synced = now-p.next < s.watchers.limits.joinRevisions
	return WatchBatch{}, read, nil
}

// catchUp reads a stretch of history and settles where the watcher is after it.
func (w *Watcher) catchUp(ctx context.Context, read *diskRead) (WatchBatch, error) {
	batch, err := w.readEvents(ctx, read)
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &w.position
	if p.err != nil {
		return WatchBatch{}, p.err
	}
	if s.watchers.generation != read.generation {
		return WatchBatch{}, ctx.Err() // the store was replaced; the position is set already
	}
	p.diskFrom = 0
	if err != nil || batch.Revision < read.to {
		// The queue begins after read.to: it cannot follow.
		p.synced = false
		p.dropQueue()
	}
	if err != nil {
		p.next = read.from
		if ctx.Err() == nil {
			w.end(err)
		}
		return WatchBatch{}, err
	}
	p.sent = batch.Revision
	if batch.Revision < read.to || p.next == read.from {
		p.next = batch.Revision + 1
	}
	return batch, nil
}

// publish adds events to the queue of a synced watcher. They are all that it wants of the revisions after from up to
// to. Store.mu is held.
func (w *Watcher) publish(events []*mvccpb.Event, bytes int, from, to int64) {
	p := &w.position
	if !p.synced {
		return
	}
	limits := &w.store.watchers.limits
	if n := len(p.queue); n > 0 && (n+len(events) > limits.queuedEvents || p.queueBytes+bytes > limits.queuedBytes) {
		w.fallBehind(from)
		return
	}
	p.queue = append(p.queue, events...)
	p.queueBytes += bytes
	p.queuedTo = to
	w.signal()
}

// fallBehind makes a synced watcher read everything after revision from from disk. Store.mu is held.
func (w *Watcher) fallBehind(from int64) {
	p := &w.position
	p.synced, p.next = false, from+1
	w.signal()
}

// replaced settles the watcher's position in a store whose content was replaced. Store.mu is held.
func (w *Watcher) replaced(old, now *state) {
	p := &w.position
	if p.err != nil {
		return
	}
	upTo := p.upTo(old.revision)
	switch base := now.lost(upTo, w.minimum); {
	case base != 0:
		w.end(&CompactedError{Revision: base})
	case upTo > now.revision:
		w.end(fmt.Errorf("%w: it was sent revisions up to %d, the store is at %d", ErrRewound, upTo, now.revision))
	default:
		if p.diskFrom != 0 {
			p.dropQueue()
		}
		p.synced, p.next, p.diskFrom = upTo == now.revision, upTo+1, 0
		w.signal()
	}
}
