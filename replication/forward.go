package replication

import (
	"context"
	"fmt"
	"sync"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport"
)

// proposeService carries units to the leader of the primary region, many on one stream.
const proposeService = "propose/1"

// Bounds of one message between nodes.
const (
	maxForwardBytes = 1 << 20
	maxForwardQueue = 64 << 20
)

// forwarder sends units to other nodes, and brings back what became of them.
type forwarder struct {
	ctx       context.Context
	transport transport.Transport
	clock     clock.Clock
	again     func([]*unit)
	misrouted func() // the peer does not take writes: ask who does

	mu       sync.Mutex
	links    map[string]*link
	finished sync.WaitGroup
}

// link is the stream to one node. It ends with the stream; the next unit opens a new one.
type link struct {
	owner *forwarder
	addr  string
	wake  chan struct{}

	mu      sync.Mutex
	dead    bool
	queue   []*unit
	bytes   int64
	next    uint64
	pending map[uint64]*unit // handed over, not answered
}

// enqueue hands u to the link to addr; false means that it has no room.
func (f *forwarder) enqueue(addr string, u *unit) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return false
	}
	l := f.links[addr]
	if l == nil {
		l = &link{owner: f, addr: addr, wake: make(chan struct{}, 1), pending: map[uint64]*unit{}}
		f.links[addr] = l
		f.finished.Go(func() { l.run(f.ctx) })
	}
	return l.enqueue(u)
}

func (f *forwarder) drop(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.links[l.addr] == l {
		delete(f.links, l.addr)
	}
}

func (l *link) enqueue(u *unit) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.bytes > maxForwardQueue {
		return false
	}
	l.queue = append(l.queue, u)
	l.bytes += int64(u.bytes)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// run lives as long as the stream. Units that were sent and not answered then have an unknown outcome; all others go
// back to the router.
func (l *link) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := l.owner.transport.Open(ctx, l.addr, proposeService)
	if err == nil {
		var received sync.WaitGroup
		var receiveErr error
		received.Go(func() {
			receiveErr = l.receive(s)
			cancel()
		})
		err = l.send(ctx, s)
		cancel()
		received.Wait()
		if receiveErr != nil {
			err = receiveErr
		}
	}
	l.owner.drop(l)
	l.end(err)
}

func (l *link) end(cause error) {
	l.mu.Lock()
	l.dead = true
	queue, pending := l.queue, l.pending
	l.queue, l.pending = nil, nil
	l.mu.Unlock()
	for _, u := range pending {
		u.finish(result{err: fmt.Errorf("%w: connection to the leader at %s broke: %w", ErrUnknownOutcome, l.addr, cause)})
	}
	l.owner.misrouted()
	l.owner.again(queue)
}

func (l *link) send(ctx context.Context, s transport.Stream) error {
	for {
		message := l.gather()
		if message == nil {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-l.wake:
			}
			continue
		}
		if err := s.Send(message); err != nil {
			return err
		}
	}
}

// gather makes one message of what waits.
func (l *link) gather() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b []byte
	taken := 0
	for _, u := range l.queue {
		if len(b) > maxForwardBytes {
			break
		}
		taken++
		l.bytes -= int64(u.bytes)
		if !u.hand() {
			continue
		}
		if b == nil {
			b = beginForward(min(maxForwardBytes, int(l.bytes)+u.bytes+512))
		}
		l.next++
		l.pending[l.next] = u
		b = appendForward(b, l.next, u, l.owner.clock.Now())
	}
	clear(l.queue[:taken])
	l.queue = l.queue[taken:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	return b
}

func (l *link) receive(s transport.Stream) error {
	for {
		message, err := s.Recv()
		if err != nil {
			return err
		}
		if err := readAnswers(message, l.answer); err != nil {
			return err
		}
	}
}

func (l *link) answer(id uint64, status byte, r *Receipt, text string) {
	l.mu.Lock()
	u := l.pending[id]
	delete(l.pending, id)
	l.mu.Unlock()
	if u == nil {
		return
	}
	if status == answerNotTaken {
		l.owner.misrouted()
		l.owner.again([]*unit{u})
		return
	}
	u.finish(resultOf(status, r, text))
}

// serveForwards is the other end: it takes units for this node's pipeline.
func (n *node) serveForwards(ctx context.Context, s transport.Stream) error {
	out := &answers{wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	sending.Go(func() {
		out.send(ctx, s)
		cancel()
	})
	defer sending.Wait()
	defer cancel()
	for {
		message, err := s.Recv()
		if err != nil {
			return peer.IgnoreEnd(err)
		}
		err = readForwards(message, n.config.Clock.Now(), func(id uint64, u *unit) {
			u.finish = func(r result) { out.add(id, r) }
			if err := n.checkUnit(u); err != nil {
				out.add(id, result{err: err})
			} else if !n.pipeline.enqueue(u) {
				out.add(id, result{err: ErrNotReady})
			}
		})
		if err != nil {
			return err
		}
	}
}

// answers gathers results for one stream.
type answers struct {
	mu   sync.Mutex
	next [][]byte // messages
	wake chan struct{}
}

func (a *answers) add(id uint64, r result) {
	a.mu.Lock()
	if last := len(a.next) - 1; last >= 0 && len(a.next[last]) < maxForwardBytes {
		a.next[last] = appendAnswer(a.next[last], id, r)
	} else {
		a.next = append(a.next, appendAnswer(nil, id, r))
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *answers) send(ctx context.Context, s transport.Stream) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		a.mu.Lock()
		messages := a.next
		a.next = nil
		a.mu.Unlock()
		for _, m := range messages {
			if s.Send(m) != nil {
				return
			}
		}
	}
}
