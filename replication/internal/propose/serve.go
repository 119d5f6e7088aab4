package propose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Names of the stream that carries proposals to the leader of the primary region, many on one.
const (
	// Service says which callers have left.
	Service = "propose/3"
	// ServiceParts does not. It is for nodes that do not know Service.
	ServiceParts = "propose/2"
	// ServiceWhole has each answer in one message, too. It is for nodes that do not know ServiceParts.
	ServiceWhole = "propose/1"
)

// Serve is the transport's handler of Service and ServiceParts: it takes proposals of another node into this one's
// pipeline. It ends when either half of the stream ends, and takes nothing afterwards: nobody would hear of it. What
// was taken by then and is in no frame is dropped.
func (p *Proposer) Serve(ctx context.Context, s transport.Stream) error { return p.serve(ctx, s, true) }

// ServeWhole is the transport's handler of ServiceWhole.
func (p *Proposer) ServeWhole(ctx context.Context, s transport.Stream) error {
	return p.serve(ctx, s, false)
}

func (p *Proposer) serve(ctx context.Context, s transport.Stream, parts bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &answers{wake: wake.New(), parts: parts, keeps: p.keeps, trace: func() *trace { return p.traceOf(ctx) }}
	defer out.gone.Store(true)
	go func() { cancel(p.take(ctx, s, out)) }() // ends with the stream, which ends when this function returns
	err := peer.IgnoreEnd(out.send(ctx, s))
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		p.config.Logger.Warn("stream of forwarded writes broke", "peer", s.Peer(), "err", err)
	}
	return err
}

// take returns why it ends, never nil.
func (p *Proposer) take(ctx context.Context, s transport.Stream, out *answers) error {
	for {
		message, err := s.Recv()
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if len(message) > 0 && message[0] == leftVersion {
			err = readLeft(message, out.leave)
		} else {
			err = readForwards(message, p.config.Clock.Now(), out, p.takeOne)
		}
		if err != nil {
			return err
		}
	}
}

func (p *Proposer) takeOne(u *proposal) {
	if err := p.check(u); err != nil {
		u.finish(result{err: err})
	} else if !u.refused(p.config.Gate) && !p.pipeline.enqueue(u) {
		u.finish(result{err: contract.ErrNotReady})
	}
}

// answers gathers results for one stream.
type answers struct {
	parts bool // an answer may be sent in parts
	// keeps reports whether an answer must not be sent any more, and has another one be told then.
	keeps func(r result, tell func(result)) bool
	trace func() *trace // begins to tell of a proposal of the stream; nil: none is told of
	gone  atomic.Bool   // the stream has ended

	mu         sync.Mutex
	unanswered map[uint64]*proposal
	next       []reply
	wake       wake.Signal
}

// reply is what became of a proposal of the stream.
type reply struct {
	id uint64
	result
}

// errAnswerTooLarge says that a proposal's results are more than can be sent. It was applied; the node that asks
// cannot be told with what results.
var errAnswerTooLarge = errors.New("results are too large")

// limit bounds one answer.
func (a *answers) limit() int {
	if a.parts {
		return maxAnswerBytes
	}
	return transport.MaxMessageBytes
}

// proposal makes one of the stream, to be filled.
func (a *answers) proposal(id uint64, regions int) *proposal {
	var t *trace
	if a.trace != nil {
		t = a.trace()
	}
	return &proposal{regions: regions, from: a, trace: t, finish: func(r result) {
		t.end(r.err)
		a.add(id, r)
	}}
}

func (a *answers) add(id uint64, r result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.unanswered, id)
	a.next = append(a.next, reply{id, r})
	a.wake.Nudge()
}

// message returns the first answers of the list in one message, nil if there are none, and those that are left. Who is
// to be told nothing any more is left out, and kept: that is looked at just before they are sent.
func (a *answers) message(list []reply) (m []byte, left []reply) {
	for i, one := range list {
		id, r := one.id, one.result
		n := answerBytes(r)
		if m != nil && len(m)+n > maxForwardBytes {
			return m, list[i:]
		}
		if a.keeps(r, func(r result) { a.add(id, r) }) {
			continue
		}
		if n > a.limit() {
			r = result{err: fmt.Errorf("%w: %w: about %d bytes", contract.ErrUnknownOutcome, errAnswerTooLarge, n)}
		}
		m = appendAnswer(m, id, r)
	}
	return m, nil
}

// send returns why it ends, never nil.
func (a *answers) send(ctx context.Context, s transport.Stream) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.wake:
		}
		a.mu.Lock()
		list := a.next
		a.next = nil
		a.mu.Unlock()
		for len(list) > 0 {
			var m []byte
			if m, list = a.message(list); m == nil {
				break
			}
			if err := sendMessage(s, m); err != nil {
				return fmt.Errorf("send answers: %w", err)
			}
		}
	}
}

// sendMessage sends m, in parts if it is too large for one message. Only one answer alone is.
func sendMessage(s transport.Stream, m []byte) error {
	if len(m) <= transport.MaxMessageBytes {
		return s.Send(m)
	}
	for len(m) > 0 {
		part := m[:min(len(m), maxPartBytes)]
		m = m[len(part):]
		kind := partVersion
		if len(m) == 0 {
			kind = lastPartVersion
		}
		if err := s.Send(append([]byte{kind}, part...)); err != nil {
			return err
		}
	}
	return nil
}
