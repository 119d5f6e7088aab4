package raftgroup

import (
	"fmt"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/wake"
)

// maxReceivedBytes bounds the messages of peers that wait for the loop; beyond it the streams they come from stand
// still.
const maxReceivedBytes = 64 << 20

// work is what waits for one turn of the loop.
type work struct {
	local     []*raftpb.Message // from the writer and the applier, in order from each
	received  []*raftpb.Message // from peers, in order from each stream
	calls     []func(*loop)     // run on the loop
	reads     []*read
	proposals []*proposal
	bytes     int // of received
}

func (w *work) clear() {
	w.local = emptied(w.local)
	w.received = emptied(w.received)
	w.calls = emptied(w.calls)
	w.reads = emptied(w.reads)
	w.proposals = emptied(w.proposals)
	w.bytes = 0
}

// mailbox is the only way to the loop, for everybody else. It collects work, which the loop takes all at once.
//
//  1. Posting wakes the loop and never blocks, but for Receive, which peers may be held up by.
//  2. What was posted before the box was closed may still be done; what is posted after is refused.
//  3. ended is closed when nothing posted will be done any more. So whoever waits for an answer waits for ended too,
//     and looks for the answer once more when that comes first: it may have been the last thing the loop did.
//
// Its methods are safe for concurrent use, but take, valid and end, which are the loop's.
type mailbox struct {
	wake  wake.Signal
	ended chan struct{}
	once  sync.Once

	mu      sync.Mutex
	space   sync.Cond // the loop took what waited, or the box was closed
	waiting work
	closed  bool
}

func newMailbox() *mailbox {
	m := &mailbox{wake: wake.New(), ended: make(chan struct{})}
	m.space.L = &m.mu
	return m
}

// valid returns what contradicts itself.
func (m *mailbox) valid() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := &m.waiting; w.bytes < 0 || len(w.received) == 0 && w.bytes > 0 {
		return fmt.Errorf("mailbox: %d messages of peers in %d bytes", len(w.received), w.bytes)
	}
	return nil
}

// take exchanges what waits against w, which must be clear.
func (m *mailbox) take(w *work) {
	m.mu.Lock()
	*w, m.waiting = m.waiting, *w
	m.space.Broadcast()
	m.mu.Unlock()
}

// close makes every post fail from now on.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.space.Broadcast()
	m.mu.Unlock()
}

// end notes that the loop is no more, or never began.
func (m *mailbox) end() { m.once.Do(func() { close(m.ended) }) }

// post adds work under the lock; false if the box is closed.
func (m *mailbox) post(add func(*work)) bool {
	m.mu.Lock()
	ok := !m.closed
	if ok {
		add(&m.waiting)
	}
	m.mu.Unlock()
	if ok {
		m.ring()
	}
	return ok
}

func (m *mailbox) ring() {
	m.wake.Nudge()
}

// call has f run on the loop; false if it never will.
func (m *mailbox) call(f func(*loop)) bool {
	return m.post(func(w *work) { w.calls = append(w.calls, f) })
}

// do has f run on the loop and waits for it; false if the group ended before. It must not be called on the loop.
func (m *mailbox) do(f func(*loop)) bool {
	done := make(chan struct{})
	if !m.call(func(l *loop) { f(l); close(done) }) {
		return false
	}
	_, ok := await(done, m.ended)
	return ok
}

// await waits for an answer; false if the loop ended without one.
func await[T any](answer <-chan T, ended <-chan struct{}) (a T, ok bool) {
	select {
	case a = <-answer:
		return a, true
	case <-ended:
		select {
		case a = <-answer:
			return a, true
		default:
			return a, false
		}
	}
}
