package raftgroup

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// maxReceivedBytes bounds the messages of peers that wait for the loop; beyond it the streams they come from stand still.
const maxReceivedBytes = 64 << 20

// work is what waits for one turn of the loop.
type work struct {
	local     []*raftpb.Message // from the writer and the applier, in order from each
	received  []*raftpb.Message // from peers, in order from each stream
	calls     []func()          // run on the loop
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

func emptied[T any](s []T) []T {
	clear(s)
	return s[:0]
}

// mailbox collects work for the loop, which takes all of it at once. Posting wakes the loop and never blocks, but for receive.
type mailbox struct {
	wake chan struct{}

	mu      sync.Mutex
	space   sync.Cond // the loop took what waited, or the box was closed
	waiting work
	closed  bool
}

func newMailbox() *mailbox {
	m := &mailbox{wake: make(chan struct{}, 1)}
	m.space.L = &m.mu
	return m
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
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// deliver hands over messages of this node's own threads.
func (m *mailbox) deliver(messages []*raftpb.Message) {
	m.post(func(w *work) { w.local = append(w.local, messages...) })
}

// call has f run on the loop; false if it never will.
func (m *mailbox) call(f func()) bool {
	return m.post(func(w *work) { w.calls = append(w.calls, f) })
}

// receive hands over messages of a peer, and blocks while too many wait.
func (m *mailbox) receive(messages []*raftpb.Message, bytes int) bool {
	m.mu.Lock()
	for !m.closed && m.waiting.bytes > maxReceivedBytes {
		m.space.Wait()
	}
	ok := !m.closed
	if ok {
		m.waiting.received = append(m.waiting.received, messages...)
		m.waiting.bytes += bytes
	}
	m.mu.Unlock()
	if ok {
		m.ring()
	}
	return ok
}
