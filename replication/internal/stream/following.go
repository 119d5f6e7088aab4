package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// following is one session of a Sink. One goroutine receives and never waits for anything else, so that answers are
// heard even while the region is slow; one checks what came and hands it over; one sends acknowledgements and pings;
// one watches for silence.
type following struct {
	sink    *Sink
	config  *SinkConfig
	address string
	stream  transport.Stream
	way     Way
	around  string          // the region of the node, if it is followed for a gap of the source
	stays   bool            // until the source served, nobody else is followed: who is to be has a gap
	held    timeline.Cursor // where the subscription began
	reigns  []timeline.Reign

	accepted bool // the source served; also read by watch, so changed under mu
	progress bool // something was handed over
	arrived  wake.Signal
	handed   wake.Signal

	mu     sync.Mutex
	heard  time.Time
	news   time.Time            // when something new came, or a sign that the source's region is alive
	queue  []batch              // received, not checked
	window window               // handed over, not applied
	bytes  int64                // of queue and window
	pings  map[uint64]time.Time // when the pings under way were sent
	token  uint64
}

// batch is a batch's body as it was received.
type batch struct {
	body []byte
	cost int64
}

// takeBytes is about how much is handed over at once.
const takeBytes = 4 << 20

func (k *Sink) newFollowing(address string) *following {
	return &following{
		sink: k, config: &k.config, address: address,
		arrived: wake.New(), handed: wake.New(),
		heard: k.config.Clock.Now(), news: k.config.Clock.Now(), pings: make(map[uint64]time.Time),
	}
}

// run lives as long as the session. All its goroutines have ended when it returns.
func (f *following) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer f.drop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.watch(ctx) })
	g.Go(func() error {
		if err := f.subscribe(ctx); err != nil {
			return err
		}
		g.Go(func() error { return f.hand(ctx) })
		g.Go(func() error { return f.speak(ctx) })
		return f.receive()
	})
	return g.Wait()
}

// watch ends the session after a silence, and when somebody else serves better. A source that answers and has lost its
// region is not heard of: it will never have anything new.
func (f *following) watch(ctx context.Context) error {
	left := f.config.PingInterval
	t := f.config.Clock.NewTimer(left)
	defer t.Stop()
	for {
		select {
		case <-t.C():
		case <-ctx.Done():
			return ctx.Err()
		}
		now := f.config.Clock.Now()
		f.mu.Lock()
		left = f.config.SilenceTimeout - now.Sub(f.heard)
		fresh := f.config.StaleTimeout - now.Sub(f.news)
		stays := f.stays && !f.accepted
		f.mu.Unlock()
		if left <= 0 {
			return fmt.Errorf("%w: nothing heard for %v", ErrSilent, f.config.SilenceTimeout)
		}
		if fresh <= 0 {
			if better := f.config.Better; better != nil && better(f.address, f.config.Taker.Cursor().Position) {
				return fmt.Errorf("%w: nothing new and no confirmation for %v", ErrStale, f.config.StaleTimeout)
			}
			fresh = f.config.PingInterval
		}
		if err := f.astray(); err != nil && !stays {
			return err
		}
		t.Reset(min(left, fresh, f.config.PingInterval))
	}
}

// next returns the next message.
func (f *following) next() (kind, []byte, error) {
	m, err := f.stream.Recv()
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: source ended the stream", transport.ErrUnreachable)
	}
	if err != nil {
		return 0, nil, err
	}
	f.mu.Lock()
	f.heard = f.config.Clock.Now()
	f.mu.Unlock()
	return open(m)
}

// subscribe asks for what follows what is applied here.
func (f *following) subscribe(ctx context.Context) error {
	if err := f.config.Taker.Settle(ctx); err != nil {
		return err
	}
	// The cursor first: the history taken after it leads at least so far, and what it has more is cut.
	f.held = f.config.Taker.Cursor()
	f.mu.Lock()
	f.heard = f.config.Clock.Now() // the silence begins here
	f.news = f.heard
	f.mu.Unlock()
	f.reigns = upTo(f.config.Taker.Reigns(), f.held.Epoch)
	s := &subscribe{region: f.config.Region, at: f.held, window: uint64(f.config.WindowBytes), reigns: f.reigns}
	if f.config.Formed != nil {
		s.formed = f.config.Formed()
	}
	a, err := f.ask(ctx, Service, s)
	if errors.Is(err, transport.ErrNoService) {
		s.formed = nil
		a, err = f.ask(ctx, ServiceElder, s)
	}
	if err != nil {
		return err
	}
	return f.judge(a)
}

// ask opens the stream, and returns what the source answers.
func (f *following) ask(ctx context.Context, service string, s *subscribe) (a *answer, err error) {
	if f.stream, err = f.config.Transport.Open(ctx, f.address, service); err != nil {
		return nil, err
	}
	if err = f.stream.Send(encodeSubscribe(s)); err != nil {
		return nil, err
	}
	k, body, err := f.next()
	if err != nil {
		return nil, err
	}
	if k != kindAnswer {
		return nil, fmt.Errorf("%w: kind %d instead of an answer", ErrProtocol, k)
	}
	return decodeAnswer(body)
}

// upTo returns the reigns up to an epoch.
func upTo(reigns []timeline.Reign, epoch timeline.Epoch) []timeline.Reign {
	for len(reigns) > 0 && timeline.Latest(reigns).Epoch > epoch {
		reigns = reigns[:len(reigns)-1]
	}
	return reigns
}

// judge turns the source's answer into an error, unless it serves.
func (f *following) judge(a *answer) error {
	switch a.verdict {
	case verdictAccept:
		if a.at.Epoch < f.way.Epoch {
			return fmt.Errorf("%w: it is in epoch %d, the source in %d", ErrBehind, a.at.Epoch, f.way.Epoch)
		}
		f.mu.Lock()
		f.accepted = true
		f.mu.Unlock()
		f.sink.tell(func(s *Status) {
			s.Connected, s.Address, s.Epoch, s.Err = true, f.address, a.at.Epoch, nil
			s.Committed = max(s.Committed, a.at.Position)
			s.Way = cmp.Or(f.way.Region, f.around)
		})
		f.sink.logged = ""
		f.config.Logger.Info("stream connected", "source", f.address, "position", f.held.Position,
			"epoch", f.held.Epoch, "committed", a.at.Position)
		return nil
	case verdictFork:
		if held := timeline.Latest(f.reigns); held.Epoch != 0 && !timeline.Supersedes(timeline.Latest(a.reigns), held) {
			return fmt.Errorf("%w: it forks at position %d with epoch %d, held here epoch %d", ErrBehind, a.position,
				a.at.Epoch, f.held.Epoch)
		}
		return &ForkError{Fork: a.position, Held: f.held, Source: a.reigns, SourceCursor: a.at, Address: f.address}
	case verdictBootstrap:
		return &BootstrapError{
			Held: f.held, Oldest: a.position, SourceCursor: a.at, Address: f.address, Why: a.text,
		}
	case verdictBehind:
		return fmt.Errorf("%w: it is at position %d of epoch %d, held here position %d of epoch %d", ErrBehind,
			a.at.Position, a.at.Epoch, f.held.Position, f.held.Epoch)
	case verdictChain:
		return fmt.Errorf("%w: held here position %d of epoch %d with chain %v; the source says: %s", ErrChain,
			f.held.Position, f.held.Epoch, f.held.Chain, a.text)
	case verdictRefuse:
		return fmt.Errorf("%w: %s", ErrRefused, a.text)
	default:
		return fmt.Errorf("%w: %v", ErrProtocol, a.verdict)
	}
}

// receive queues batches and hears answers until the stream ends.
func (f *following) receive() error {
	for {
		k, body, err := f.next()
		if err != nil {
			return err
		}
		switch k {
		case kindBatch:
			err = f.enqueue(body)
		case kindPong:
			err = f.hear(body)
		default:
			err = fmt.Errorf("%w: kind %d from a source", ErrProtocol, k)
		}
		if err != nil {
			return err
		}
	}
}

// enqueue takes a batch, if the source kept to the window.
func (f *following) enqueue(body []byte) error {
	committed, size, err := batchHead(body)
	if err != nil {
		return err
	}
	cost := int64(size)
	f.mu.Lock()
	if f.bytes > 0 && f.bytes+cost > f.config.WindowBytes {
		defer f.mu.Unlock()
		return fmt.Errorf("%w: batch of %d bytes on top of %d, the window is %d", ErrProtocol, cost, f.bytes,
			f.config.WindowBytes)
	}
	f.bytes += cost
	f.news = f.config.Clock.Now()
	f.queue = append(f.queue, batch{body, cost})
	f.mu.Unlock()
	f.sink.received(committed, cost)
	f.arrived.Nudge()
	return nil
}

// hear takes the answer to a ping.
func (f *following) hear(body []byte) error {
	p, err := decodePong(body)
	if err != nil {
		return err
	}
	f.mu.Lock()
	sentAt, asked := f.pings[p.token]
	delete(f.pings, p.token)
	if asked && p.known {
		f.news = f.config.Clock.Now()
	}
	f.mu.Unlock()
	if asked && p.known {
		f.sink.learn(sentAt, p)
	}
	return nil
}
