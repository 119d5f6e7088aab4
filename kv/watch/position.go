package watch

import (
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Limits bounds what is kept in memory for a watcher that is slow. Past the first two it reads from disk.
type Limits struct {
	QueuedEvents int
	QueuedBytes  int
	CatchUpBytes int // about how much is read from disk for one batch
	// CatchUpChanges is how many changes, wanted or not, are read from disk for one batch, and not many more: what is
	// found is handed out then, however much lies behind it in which there is nothing for the watcher. 0 for no such
	// bound.
	CatchUpChanges int
	// TotalBytes bounds the queues of all watchers together, and TightBytes is in place of CatchUpBytes where watchers
	// hold more than that already, queued or in batches that are not done with. 0 for no such bound.
	TotalBytes, TightBytes int
	// JoinRevisions is how close to the present a watcher that reads from disk has to be to be fed from memory again.
	JoinRevisions int64
}

// DefaultLimits are those of a server.
var DefaultLimits = Limits{QueuedEvents: 4096, QueuedBytes: 4 << 20, CatchUpBytes: 1 << 20, CatchUpChanges: 64 << 10,
	JoinRevisions: 1024, TotalBytes: 128 << 20, TightBytes: 32 << 10}

// position says where a watcher is. Everything up to sent has been yielded. If it is synced, the queue holds everything
// after that, except what Next is just reading from disk: from diskFrom, if that is not zero, to the queue's beginning.
// If it is not synced, the queue holds what precedes next. What was read from disk and not yielded, fetched, precedes
// the queue.
type position struct {
	minimum  int64 // no events below are wanted; 0 for all
	synced   bool
	next     int64
	diskFrom int64
	sent     int64
	fetched  Batch

	queue      []*mvccpb.Event
	queueBytes int
	queuedTo   int64

	held  *memory // nil for a watcher that stands alone
	taken int     // bytes of the batch that was yielded last
	slow  bool    // as held counts it

	err error
}

// begin returns where a watcher begins that wants everything from the revision start on: 0 for everything after now.
func begin(now *mvcc.State, start int64) position {
	p := position{minimum: max(start, 0)}
	if start <= 0 || start > now.Revision {
		p.synced, p.sent = true, now.Revision
		if base := now.Strange(p.minimum); base != 0 {
			p.err = &CompactedError{Revision: base}
		}
		return p
	}
	p.next, p.sent = start, start-1
	if base := now.CompactedAt(start); base != 0 {
		p.err = &CompactedError{Revision: base}
	}
	return p
}

// upTo returns the revision up to which everything is in the queue or yielded.
func (p *position) upTo(published int64) int64 {
	switch {
	case p.diskFrom != 0:
		return p.diskFrom - 1
	case p.synced:
		return published
	}
	return p.next - 1
}

// progress returns a revision up to which all there is has been yielded.
func (p *position) progress(published int64) int64 {
	switch {
	case p.err != nil:
		return p.sent
	case len(p.fetched.Events) > 0:
		return max(p.sent, p.fetched.Events[0].Kv.ModRevision-1)
	case len(p.queue) > 0 && p.diskFrom == 0:
		return max(p.sent, p.queue[0].Kv.ModRevision-1)
	}
	return max(p.sent, p.upTo(published))
}

// caughtUp reports whether all there is up to the published revision has been yielded or waits in memory, and whether
// the watcher wants anything up to there.
func (p *position) caughtUp(published int64) bool {
	return p.err == nil && p.synced && p.diskFrom == 0 && p.minimum <= published
}

func (p *position) dropQueue() {
	if p.held != nil {
		p.held.queued -= p.queueBytes
	}
	p.queue, p.queueBytes = nil, 0
}

// memory is what the watchers of a hub hold together. Hub.mu guards it.
type memory struct {
	queued int // bytes of events that wait
	taken  int // bytes of batches that were yielded and are not yet done with
	slow   int // watchers that read from disk
}

// counted has the watcher counted as what it is after each step that may change that.
func (p *position) counted() {
	is := p.readsDisk()
	if p.held == nil || is == p.slow {
		return
	}
	if p.slow = is; is {
		p.held.slow++
	} else {
		p.held.slow--
	}
}

// readsDisk reports whether the watcher lives, and reads from disk.
func (p *position) readsDisk() bool { return p.err == nil && (!p.synced || p.diskFrom != 0) }

// done says that the watcher is done with the batch that it was given last.
func (p *position) done() {
	if p.held != nil {
		p.held.taken -= p.taken
	}
	p.taken = 0
}

// takes counts what the watcher is given beside what it holds.
func (p *position) takes(bytes int) {
	if p.held != nil {
		p.taken += bytes
		p.held.taken += bytes
	}
}

// end makes err what the watcher yields from now on.
func (p *position) end(err error) {
	if p.err == nil {
		p.err = err
		p.fetched = Batch{}
		p.dropQueue()
		p.counted()
	}
}

// stretch is a part of history that has to be read from disk.
type stretch struct {
	from, to int64
}

// ready reports whether take has something to return, or the watcher has ended.
func (p *position) ready() bool {
	return p.err != nil || len(p.fetched.Events) > 0 || p.diskFrom == 0 && len(p.queue) > 0
}

// take returns what waits in memory; an empty batch if nothing does.
func (p *position) take() Batch {
	batch := p.fetched
	switch {
	case len(batch.Events) > 0:
		p.fetched = Batch{} // counted when it was read
	case p.diskFrom == 0 && len(p.queue) > 0:
		batch = Batch{Events: p.queue, Revision: p.queuedTo}
		p.takes(p.queueBytes)
		p.dropQueue()
	default:
		return Batch{}
	}
	p.sent = batch.Revision
	return batch
}

// behindBy returns what has to be read from disk, nil if nothing has to. A watcher near the present is fed from memory
// again at once: what is published meanwhile waits in the queue behind what is read.
func (p *position) behindBy(now int64, limits *Limits) *stretch {
	if p.ready() || p.synced {
		return nil
	}
	p.diskFrom = p.next
	p.synced = now-p.next < limits.JoinRevisions
	p.counted()
	return &stretch{from: p.next, to: now}
}

// read settles where the watcher is after it has read a stretch, as far as the batch says.
func (p *position) read(s *stretch, batch Batch) {
	p.diskFrom, p.fetched = 0, batch
	upTo := batch.Revision
	if len(batch.Events) == 0 {
		p.fetched, p.sent = Batch{}, upTo
	}
	if upTo < s.to {
		p.behind(upTo)
	} else if p.next == s.from { // else it fell behind meanwhile
		p.next = upTo + 1
	}
	p.counted()
}

// unread settles where the watcher is after it has failed to read a stretch.
func (p *position) unread(s *stretch) {
	p.diskFrom = 0
	p.behind(s.from - 1)
}

// behind makes the watcher read everything after a revision from disk. What waits begins after the stretch that was
// being read: it cannot follow.
func (p *position) behind(upTo int64) {
	p.synced, p.next = false, upTo+1
	p.dropQueue()
	p.counted()
}

// publish adds events to the queue of a synced watcher. They are all that it wants of the revisions after from up to
// to.
func (p *position) publish(events []*mvccpb.Event, bytes int, from, to int64, limits *Limits) {
	if !p.synced {
		return
	}
	if n := len(p.queue); n > 0 && (n+len(events) > limits.QueuedEvents || p.queueBytes+bytes > limits.QueuedBytes) {
		p.fallBehind(from)
		return
	}
	// A watcher that still holds a batch is slow: beyond what all may hold it does not even queue the next.
	if p.held != nil && p.held.queued+p.held.taken+bytes > limits.TotalBytes && (len(p.queue) > 0 || p.taken > 0) {
		p.fallBehind(from)
		return
	}
	p.queue = append(p.queue, events...)
	p.queueBytes += bytes
	if p.held != nil {
		p.held.queued += bytes
	}
	p.queuedTo = to
}

// fallBehind makes a synced watcher read everything after revision from from disk, once it has yielded what waits.
func (p *position) fallBehind(from int64) {
	p.synced, p.next = false, from+1
	p.counted()
}

// replace settles the position in a store whose content was replaced.
func (p *position) replace(old, now *mvcc.State) {
	upTo := p.upTo(old.Revision)
	if base := now.Lost(upTo, p.minimum); base != 0 {
		p.end(&CompactedError{Revision: base})
		return
	}
	if p.diskFrom != 0 {
		p.dropQueue()
	}
	p.synced, p.next, p.diskFrom = upTo == now.Revision, upTo+1, 0
	p.counted()
}

// valid checks W1 to W3 at a published revision.
func (p *position) valid(now int64) error {
	n := len(p.queue)
	switch {
	case p.err != nil && n+len(p.fetched.Events) > 0:
		return fmt.Errorf("W1: %d events wait for a watcher that ended: %w", n+len(p.fetched.Events), p.err)
	case p.err != nil:
		return nil
	case p.sent > now || n == 0 && p.queueBytes != 0 || n > 0 && p.queuedTo > now:
		return fmt.Errorf("W2: sent up to %d, %d events and %d bytes up to %d wait; published %d",
			p.sent, n, p.queueBytes, p.queuedTo, now)
	case p.diskFrom != 0 && (p.diskFrom <= p.sent || len(p.fetched.Events) > 0):
		return fmt.Errorf("W3: reading from %d, sent up to %d", p.diskFrom, p.sent)
	case !p.synced && (p.next <= p.sent || n > 0 && p.next <= p.queuedTo):
		return fmt.Errorf("W3: goes on from %d; sent up to %d, events up to %d wait", p.next, p.sent, p.queuedTo)
	}
	last := max(p.sent+1, p.diskFrom)
	if len(p.fetched.Events) > 0 {
		if first := p.fetched.Events[0].Kv.ModRevision; first < last || p.fetched.Revision > now {
			return fmt.Errorf("W2: fetched from %d up to %d; sent up to %d, published %d",
				first, p.fetched.Revision, p.sent, now)
		}
		last = p.fetched.Revision + 1
	}
	for _, e := range p.queue {
		if e.Kv.ModRevision < last || e.Kv.ModRevision > p.queuedTo {
			return fmt.Errorf("W2: an event of %d waits after %d, all up to %d", e.Kv.ModRevision, last, p.queuedTo)
		}
		last = e.Kv.ModRevision
	}
	return nil
}
