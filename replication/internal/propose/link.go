package propose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Bounds of one message between nodes, and of what waits to become one.
const (
	maxForwardBytes = 1 << 20
	maxForwardQueue = 64 << 20
)

// forwarder sends proposals to other nodes, and brings back what became of them.
type forwarder struct {
	ctx       context.Context // of the node
	transport transport.Transport
	clock     clock.Clock
	logger    *slog.Logger
	back      requeuer // of proposals that were certainly not applied
	fleet     Fleet
	standing  Standing

	mu      sync.Mutex
	stopped bool
	links   map[string]*link
	older   map[string]int // by node: which of services, if the last link found that it knows no newer
	traced  int            // links for one proposal alone
	running sync.WaitGroup
}

func newForwarder(c *Config, back requeuer) *forwarder {
	return &forwarder{
		ctx: c.Life.Context(), transport: c.Transport, clock: c.Clock, logger: c.Logger, back: back, fleet: c.Fleet,
		standing: c.Standing, links: map[string]*link{}, older: map[string]int{},
	}
}

// enqueue gives u to the link to addr; false means that it has no room.
func (f *forwarder) enqueue(addr string, u *proposal) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped || f.ctx.Err() != nil {
		return false
	}
	if l := f.alone(addr, u); l != nil {
		return l.enqueue(u)
	}
	l := f.links[addr]
	if l == nil {
		l = f.newLink(addr)
		f.links[addr] = l
		f.running.Go(func() { l.run(f.ctx) })
	}
	return l.enqueue(u)
}

// newLink makes a link that is to be run. The caller holds mu.
func (f *forwarder) newLink(addr string) *link {
	return &link{
		owner: f, addr: addr, service: services[f.older[addr]], wake: wake.New(), pending: map[uint64]*proposal{},
	}
}

// services are the names of the stream, newest first.
var services = []string{Service, ServiceParts, ServiceWhole}

// drop forgets a link. The next one to a node that does not know its service uses an older one, and the one after that
// tries again: the node may be another version by then.
func (f *forwarder) drop(l *link, unknown bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !l.alone {
		delete(f.older, l.addr)
	}
	if unknown {
		f.older[l.addr] = slices.Index(services, l.service) + 1
	}
	if f.links[l.addr] == l {
		delete(f.links, l.addr)
	}
}

// wait returns when no link is left. None is made afterwards.
func (f *forwarder) wait() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.running.Wait()
}

// link is the stream to one node. It ends with the stream, whichever half of that ends first; the next proposal opens
// a new one.
type link struct {
	owner   *forwarder
	addr    string
	service string
	alone   bool // it is for one proposal, and ends with it
	wake    wake.Signal

	mu      sync.Mutex
	dead    bool
	queue   []*proposal
	bytes   int64 // of the queue
	next    uint64
	pending map[uint64]*proposal // sent, not answered
	idle    chan struct{}        // if there is one: to be closed once nothing is pending
	leaving []uint64             // of these, whose callers have left: to be told
}

func (l *link) enqueue(u *proposal) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.bytes > maxForwardQueue {
		return false
	}
	l.queue = append(l.queue, u)
	l.bytes += int64(u.bytes)
	l.wake.Nudge()
	return true
}

// run lives as long as the stream.
func (l *link) run(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := l.open(ctx, cancel)
	if err == nil {
		var halves sync.WaitGroup
		ended := make(chan struct{})
		halves.Go(func() {
			defer close(ended)
			cancel(l.receive(s))
		})
		halves.Go(func() {
			err := l.send(ctx, s)
			l.hearOut(ctx, ended)
			cancel(err)
		})
		halves.Go(func() { cancel(l.watch(ctx)) })
		halves.Go(func() {
			if l.moveOn(ctx, transport.Leaving(s)) {
				cancel(errLeft)
			}
		})
		halves.Wait()
		err = context.Cause(ctx) // of the half that ended first
	}
	unknown := l.service != ServiceWhole && errors.Is(err, transport.ErrNoService)
	l.owner.drop(l, unknown)
	l.end(err, unknown || errors.Is(err, transport.ErrStranger))
}

// open opens the stream, and gives up when writes go elsewhere by now: a node that is gone may be waited for long, and
// what is here was not sent.
func (l *link) open(ctx context.Context, cancel context.CancelCauseFunc) (transport.Stream, error) {
	opened, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		ticker := l.owner.clock.NewTicker(strandedEvery)
		defer ticker.Stop()
		for {
			select {
			case <-opened:
				return
			case <-ctx.Done():
				return
			case <-ticker.C():
			}
			if l.elsewhere() {
				cancel(errElsewhere)
				return
			}
		}
	}()
	s, err := l.owner.transport.Open(ctx, l.addr, l.service)
	close(opened)
	<-over
	return s, err
}

// errLeft ends a link that another one follows, or that was for one proposal.
var errLeft = errors.New("the connection was made anew")

// moveOn waits until the connection is to be left. Then another link takes what was not sent, and what comes; this one
// waits for its answers, and has its place among the links no longer. A link for one proposal waits for its answer
// alone. It returns false if ctx ended before.
func (l *link) moveOn(ctx context.Context, leaving <-chan struct{}) bool {
	if l.alone {
		select {
		case <-ctx.Done():
			return false
		case <-l.idle:
			return true
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-leaving:
	}
	l.owner.drop(l, false)
	l.mu.Lock()
	l.dead = true
	queue := l.queue
	l.queue, l.idle = nil, make(chan struct{})
	if len(l.pending) == 0 {
		close(l.idle)
	}
	l.mu.Unlock()
	l.owner.back.requeue(queue)
	select {
	case <-ctx.Done():
		return false
	case <-l.idle:
		return true
	}
}

// hearOut waits a little, after sending failed, for what the other side says of why the stream ended: that it does not
// know the service is said to who receives alone.
func (l *link) hearOut(ctx context.Context, ended <-chan struct{}) {
	timer := l.owner.clock.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-ended:
	case <-ctx.Done():
	case <-timer.C():
	}
}

// lastWords is how long those of the other side are waited for.
const lastWords = time.Second

// end gives up what the link has. What was sent and not answered has an unknown outcome; the rest may go another way.
// untaken says that the node does not know the service, or does not serve this one, and hence has taken nothing.
func (l *link) end(cause error, untaken bool) {
	l.mu.Lock()
	l.dead = true
	queue, pending := l.queue, l.pending
	l.queue, l.pending, l.leaving = nil, nil, nil
	l.mu.Unlock()
	if l.alone && len(queue)+len(pending) == 0 {
		return // it was answered
	}
	if untaken {
		queue = append(slices.Collect(maps.Values(pending)), queue...)
		pending = nil
	}
	level := slog.LevelDebug
	if len(pending) > 0 && l.owner.ctx.Err() == nil {
		level = slog.LevelWarn
	}
	l.owner.logger.Log(context.Background(), level, "connection to the leader broke",
		"addr", l.addr, "unanswered", len(pending), "unsent", len(queue), "err", cause)
	err := fmt.Errorf("%w: connection to the leader at %s broke: %w", contract.ErrUnknownOutcome, l.addr, cause)
	for _, u := range pending {
		u.finish(result{err: err})
	}
	l.owner.fleet.Refresh()
	l.owner.back.requeue(queue)
}

// send returns why it ends, never nil. What waits while the other half has ended already stays unsent.
func (l *link) send(ctx context.Context, s transport.Stream) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
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
			return fmt.Errorf("send: %w", err)
		}
	}
}

// gather makes one message of what waits.
func (l *link) gather() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.leaving) > 0 {
		b := encodeLeft(l.leaving)
		l.leaving = nil
		return b
	}
	var b []byte
	taken := 0
	for _, u := range l.queue {
		if len(b) > maxForwardBytes {
			break
		}
		taken++
		l.bytes -= int64(u.bytes)
		if !u.claim() {
			continue
		}
		l.next++
		if u.way.Store(&way{l, l.next}); u.phase.Load() == phaseLeft {
			continue // and could not say so
		}
		if b == nil {
			b = beginForward(min(maxForwardBytes, int(l.bytes)+u.bytes+512))
		}
		l.pending[l.next] = u
		b = appendForward(b, l.next, u, l.owner.clock.Now())
	}
	clear(l.queue[:taken])
	l.queue = l.queue[taken:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	if l.alone && taken > 0 && len(l.pending) == 0 {
		close(l.idle) // its caller has left
	}
	return b
}

// receive returns why it ends, never nil.
func (l *link) receive(s transport.Stream) error {
	var received parts
	for {
		message, err := s.Recv()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if message, err = received.add(message); err == nil && message != nil {
			err = readAnswers(message, l.answer)
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) answer(id uint64, status byte, r *contract.Receipt, text string) {
	l.mu.Lock()
	u := l.pending[id]
	delete(l.pending, id)
	last := u != nil && len(l.pending) == 0 && l.idle != nil
	l.mu.Unlock()
	if u == nil {
		return
	}
	if last {
		defer close(l.idle)
	}
	if status == answerNotTaken {
		l.owner.fleet.Refresh()
		l.owner.back.requeue([]*proposal{u})
		return
	}
	u.finish(unlessCut(l.owner.standing, resultOf(status, r, text)))
}
