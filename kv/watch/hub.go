package watch

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Disk is where watchers read what is no longer in memory.
type Disk interface {
	// ReadHistory calls f with the changes of the revisions from from up to to, all of one moment, and with the
	// compaction revision of that moment or a later one.
	ReadHistory(from, to int64, f func(h *mvcc.History, compact int64) error) error
}

// Hub is all watchers of a store, and whoever waits for a revision. It is safe for concurrent use, but batches and
// replacements of the content are published by one goroutine at a time.
type Hub struct {
	disk    Disk
	limits  Limits
	level   atomic.Int32
	reading chan struct{} // holds one for each watcher that reads from disk now

	// mu is held while anything is published: what follows it changes in one step with what readers see.
	mu       sync.Mutex
	now      *mvcc.State // as published
	watchers index
	memory   memory
	// generation counts how often the content of the store was replaced.
	generation uint64
	changed    chan struct{} // closed when the revision rises; nil while nobody waits
	ended      error         // set once the store is closed
}

// NewHub returns a hub without watchers of a store at the state now.
func NewHub(disk Disk, now *mvcc.State, limits Limits) *Hub {
	if limits.TotalBytes == 0 {
		limits.TotalBytes, limits.TightBytes = math.MaxInt, limits.CatchUpBytes
	}
	if limits.CatchUpChanges == 0 {
		limits.CatchUpChanges = math.MaxInt
	}
	// What reads has room for half of the processors: the rest of the node goes on.
	return &Hub{disk: disk, limits: limits, now: now, reading: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// Watch starts a watcher, which must be closed. A start that cannot be served is reported by the first Next. Errors:
// command.ErrEmptyKey, and what the hub was closed with.
func (h *Hub) Watch(r Request) (*Watcher, error) {
	if len(r.Key) == 0 {
		return nil, command.ErrEmptyKey
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended != nil {
		return nil, h.ended
	}
	w := &Watcher{
		hub: h, request: r, span: command.SpanOf(r.Key, r.RangeEnd), created: h.now.Revision,
		wake: make(chan struct{}, 1), position: begin(h.now, r.StartRevision),
	}
	w.position.held = &h.memory
	w.position.counted()
	h.watchers.add(w)
	h.setLevel()
	return w, nil
}

func (h *Hub) setLevel() { h.level.Store(int32(h.watchers.level())) }

// Wanted says what a batch has to gather. A watcher that comes too late for it reads from disk what was not gathered.
func (h *Hub) Wanted() Level { return Level(h.level.Load()) }

// Publish calls show, which publishes a batch that brought the store to the state now, and hands out what it changed,
// as one step for watchers.
func (h *Hub) Publish(now *mvcc.State, written Written, show func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.now
	h.now = now
	show()
	if now.Revision == before.Revision {
		return
	}
	if len(h.watchers.all) > 0 {
		h.handOut(before, written)
	}
	h.wakeWaiters()
}

// handOut gives the changes since the state before to the watchers.
func (h *Hub) handOut(before *mvcc.State, written Written) {
	from, to := before.Revision, h.now.Revision
	if n := len(h.now.Gaps); n > 0 && h.now.Gaps[n-1].Base > from { // the same step may have compacted older ones
		h.endInGap()
	}
	if written.Level < h.Wanted() {
		for w := range h.watchers.all {
			if w.position.synced && (written.Level < Events || w.request.PrevKV) {
				w.position.fallBehind(from)
				w.signal()
			}
		}
	}
	pending := map[*Watcher]*pendingEvents{}
	for i := range written.Changes {
		c := sharedChange{Change: &written.Changes[i]}
		h.watchers.visit(c.Key, func(w *Watcher) { c.offer(w, pending) })
	}
	for w, p := range pending {
		w.position.publish(p.events, p.bytes, from, to, &h.limits)
		w.signal()
	}
}

// endInGap ends the watchers that wait for a revision which a lossy reign has just jumped over.
func (h *Hub) endInGap() {
	for w := range h.watchers.all {
		if base := h.now.InGap(w.position.minimum); base != 0 {
			w.end(&CompactedError{Revision: base})
		}
	}
}

// Replace calls show, which replaces the content of the store by one at the state now, as one step for watchers. They
// go on where they are, or end with a *CompactedError if the new content does not have what they saw or still need.
func (h *Hub) Replace(now *mvcc.State, show func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.now
	h.now = now
	show()
	h.generation++
	for w := range h.watchers.all {
		if w.position.err == nil {
			w.position.replace(old, now)
			w.signal()
		}
	}
	h.wakeWaiters()
}

// Close ends all watchers and whoever waits with err, and keeps others from beginning.
func (h *Hub) Close(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = err
	for w := range maps.Clone(h.watchers.all) {
		w.end(err)
		h.watchers.remove(w)
	}
	h.setLevel()
	h.wakeWaiters()
}

// Count returns how many watchers there are, and how many of them read from disk.
func (h *Hub) Count() (all, slow int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers.all), h.memory.slow
}

// Align takes what waits for the watchers, which are of one hub, as [Hub.Align] does. Of no watchers there is nothing
// to say.
func Align(watchers []*Watcher) (batches [][]Batch, revision int64, ok bool) {
	if len(watchers) == 0 {
		return nil, 0, false
	}
	return watchers[0].hub.Align(watchers)
}

// Align takes what waits for the watchers, as one step for all of them: with these batches, each of them has been
// yielded everything up to the revision that is returned. ok is false, and nothing was taken, if that cannot be said
// of one: because it reads from disk, has ended, or begins after that revision.
func (h *Hub) Align(watchers []*Watcher) (batches [][]Batch, revision int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range watchers {
		if !w.position.caughtUp(h.now.Revision) {
			return nil, 0, false
		}
	}
	batches = make([][]Batch, len(watchers))
	for i, w := range watchers {
		for b := w.position.take(); len(b.Events) > 0; b = w.position.take() {
			batches[i] = append(batches[i], b)
		}
		w.position.sent = h.now.Revision
	}
	return batches, h.now.Revision, true
}

// WaitRevision returns once the store has reached rev, or with the context's error, or with what the hub was closed
// with; a *CompactedError if this history will not come to rev.
func (h *Hub) WaitRevision(ctx context.Context, rev int64) error {
	for {
		changed, err := h.await(rev)
		if changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// await returns what is closed when the revision rises, or nil if there is nothing to wait for.
func (h *Hub) await(rev int64) (<-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now.Revision >= rev {
		return nil, nil
	}
	if h.ended != nil {
		return nil, h.ended
	}
	if base := h.now.Strange(rev); base != 0 {
		return nil, &CompactedError{Revision: base}
	}
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed, nil
}

// wakeWaiters wakes WaitRevision. h.mu is held.
func (h *Hub) wakeWaiters() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// valid checks W1 to W5. h.mu is held.
func (h *Hub) valid() error {
	if err := h.watchers.valid(); err != nil {
		return err
	}
	if h.Wanted() != h.watchers.level() {
		return fmt.Errorf("level %d is wanted, %d asked for", h.watchers.level(), h.Wanted())
	}
	slow := 0
	for w := range h.watchers.all {
		if err := w.position.valid(h.now.Revision); err != nil {
			return fmt.Errorf("watcher of %q, %q: %w", w.span.Start, w.span.End, err)
		}
		if w.position.readsDisk() {
			slow++
		}
	}
	if slow != h.memory.slow {
		return fmt.Errorf("W5: %d watchers read from disk, %d are counted", slow, h.memory.slow)
	}
	return nil
}
