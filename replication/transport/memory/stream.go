package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/transport"
)

var (
	errBroken   = fmt.Errorf("%w: connection broke", transport.ErrUnreachable)
	errSilent   = fmt.Errorf("%w: peer fell silent", transport.ErrUnreachable)
	errFinished = errors.New("memory: handler returned")
)

// stream is one stream with both of its ends.
type stream struct {
	net            *Network
	window         int
	opener, server *end
	gone           chan struct{} // closed once both ends are over

	mu       sync.Mutex
	ends     int           // that are not over
	watched  bool          // a goroutine waits for the stall to last too long
	finished bool          // the handler returned, and its end is on its way to the opener
	moved    chan struct{} // closed and replaced when a stall begins or ends
}

// end is one side of a stream. It implements transport.Stream.
type end struct {
	stream *stream
	node   *node
	addr   string
	peer   *end
	ctx    context.Context
	cancel context.CancelCauseFunc
	in     pipe       // what is on its way to this end; guarded by stream.mu
	random *rand.Rand // of what it sends; guarded by net.mu
}

// pipe is one direction of a stream.
type pipe struct {
	queue    []item
	bytes    int
	last     time.Time // arrival of the last item
	stalled  bool
	arrived  int // items that had arrived when the stall began
	ended    bool
	eof      bool // the reader has seen the end
	readable chan struct{}
	writable chan struct{}
}

type item struct {
	message []byte
	at      time.Time
	end     bool
	err     error // with end: what the handler returned
}

func newStream(ctx context.Context, from, to *node, service string) *stream { // net.mu is held
	s := &stream{net: from.net, window: from.net.window, ends: 2, gone: make(chan struct{}), moved: make(chan struct{})}
	s.opener = newEnd(ctx, s, from)
	s.server = newEnd(transport.WithTraceparent(context.Background(), transport.Traceparent(ctx)), s, to)
	s.opener.peer, s.server.peer = s.server, s.opener
	s.opener.random, s.server.random = s.net.dice(route{from.addr, to.addr, service})
	for _, e := range []*end{s.opener, s.server} {
		context.AfterFunc(e.ctx, e.over)
	}
	return s
}

func newEnd(ctx context.Context, s *stream, nd *node) *end {
	e := &end{stream: s, node: nd, addr: nd.addr}
	e.in.readable = make(chan struct{}, 1)
	e.in.writable = make(chan struct{}, 1)
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	return e
}

// delay returns the delay of one message sent by e.
func (s *stream) delay(e *end) time.Duration { return s.net.sample(e.addr, e.peer.addr, e.random) }

// over runs once e's context has ended, and lets the other side know.
func (e *end) over() {
	s := e.stream
	s.mu.Lock()
	s.ends--
	last := s.ends == 0
	tell := !last && !(e == s.server && s.finished)
	s.mu.Unlock()
	if last {
		close(s.gone)
		s.net.mu.Lock()
		delete(s.net.streams, s)
		s.net.mu.Unlock()
		return
	}
	if tell && (e.peer.node.nobody || s.awaitArrival(e.peer, s.delay(e))) {
		e.peer.cancel(errBroken)
	}
}

// leave ends the sides of s that are nd's.
func (s *stream) leave(nd *node) {
	for _, e := range []*end{s.opener, s.server} {
		if e.node == nd {
			e.cancel(transport.ErrClosed)
		}
	}
}

// abort breaks both sides at once.
func (s *stream) abort(err error) {
	s.opener.cancel(err)
	s.server.cancel(err)
}

// finish sends the end of the handler to the opener, after everything it sent.
func (s *stream) finish(err error) {
	d := s.delay(s.server)
	s.mu.Lock()
	if s.server.ctx.Err() == nil {
		s.finished = true
		s.push(s.opener, item{end: true, err: transport.AsRemote(err)}, d)
	}
	s.mu.Unlock()
	s.server.cancel(errFinished)
}

// push queues it for e; s.mu is held.
func (s *stream) push(e *end, it item, d time.Duration) {
	it.at = s.net.clock.Now().Add(d)
	if it.at.Before(e.in.last) {
		it.at = e.in.last
	}
	e.in.last = it.at
	e.in.queue = append(e.in.queue, it)
	e.in.bytes += len(it.message)
	signal(e.in.readable)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Context implements transport.Stream.
func (e *end) Context() context.Context { return e.ctx }

// Peer implements transport.Stream.
func (e *end) Peer() string { return e.peer.addr }

// Send implements transport.Stream.
func (e *end) Send(p []byte) error {
	if len(p) > transport.MaxMessageBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", transport.ErrTooLarge, len(p), transport.MaxMessageBytes)
	}
	s := e.stream
	d := s.delay(e)
	p = s.net.handOver(p)
	for {
		s.mu.Lock()
		to, moved := &e.peer.in, s.moved
		switch {
		case e.ctx.Err() != nil && context.Cause(e.ctx) != io.EOF:
			s.mu.Unlock()
			return context.Cause(e.ctx)
		case to.ended:
			s.mu.Unlock()
			return errors.New("memory: Send after CloseSend")
		case !to.stalled && e.peer.ctx.Err() != nil:
			s.mu.Unlock()
			return fmt.Errorf("%w: peer ended the stream", transport.ErrUnreachable)
		case to.bytes == 0 || to.bytes+len(p) <= s.window:
			s.push(e.peer, item{message: p}, d)
			s.mu.Unlock()
			return nil
		}
		peerOver := e.peer.ctx.Done()
		if to.stalled {
			peerOver = nil // cannot be known yet
		}
		s.mu.Unlock()
		select {
		case <-to.writable:
		case <-moved:
		case <-peerOver:
		case <-e.ctx.Done():
		}
	}
}

// handOver returns what the receiver gets of p.
func (n *Network) handOver(p []byte) []byte {
	n.mu.Lock()
	poison := n.poison
	n.mu.Unlock()
	if !poison {
		return p
	}
	c := append([]byte(nil), p...)
	for n := copy(p, "poisoned"); n > 0 && n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
	return c
}

// CloseSend implements transport.Stream.
func (e *end) CloseSend() error {
	s := e.stream
	if e == s.server {
		return errors.New("memory: CloseSend by a handler, which has to return instead")
	}
	d := s.delay(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if to := &e.peer.in; !to.ended {
		to.ended = true
		s.push(e.peer, item{end: true}, d)
	}
	return nil
}

// Recv implements transport.Stream.
func (e *end) Recv() ([]byte, error) {
	s := e.stream
	for {
		if e.ctx.Err() != nil {
			return nil, context.Cause(e.ctx)
		}
		s.mu.Lock()
		if e.in.eof {
			s.mu.Unlock()
			return nil, io.EOF
		}
		it, wait, ok := e.in.pop(s.net.clock.Now())
		moved := s.moved
		if ok && it.end && e == s.server {
			e.in.eof = true
		}
		s.mu.Unlock()
		switch {
		case !ok:
			e.await(wait, moved)
		case !it.end:
			signal(e.in.writable)
			return it.message, nil
		case it.err != nil:
			e.cancel(it.err)
			return nil, it.err
		case e == s.opener:
			e.cancel(io.EOF)
			return nil, io.EOF
		}
	}
}

// pop removes the first item if it has arrived. If not, wait is how long its arrival takes, 0 if that is not known.
func (p *pipe) pop(now time.Time) (it item, wait time.Duration, ok bool) {
	if len(p.queue) == 0 || p.stalled && p.arrived == 0 {
		return item{}, 0, false
	}
	it = p.queue[0]
	if wait := it.at.Sub(now); wait > 0 && !p.stalled {
		return item{}, wait, false
	}
	p.queue[0] = item{}
	if p.queue = p.queue[1:]; len(p.queue) == 0 {
		p.queue = nil
	}
	p.bytes -= len(it.message)
	if p.stalled {
		p.arrived--
	}
	return it, 0, true
}

// await returns when something may have arrived for e.
func (e *end) await(wait time.Duration, moved <-chan struct{}) {
	var arrival <-chan time.Time
	if wait > 0 {
		t := e.stream.net.clock.NewTimer(wait)
		defer t.Stop()
		arrival = t.C()
	}
	select {
	case <-e.in.readable:
	case <-arrival:
	case <-moved:
	case <-e.ctx.Done():
	}
}
