package propose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Service is the name of the stream that carries proposals to the leader of the primary region, many on one.
const Service = "propose/1"

// Serve is the transport's handler of Service: it takes proposals of another node into this one's pipeline. It ends
// when either half of the stream ends, and takes nothing afterwards: nobody would hear of it.
func (p *Proposer) Serve(ctx context.Context, s transport.Stream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &answers{wake: wake.New()}
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
		err = readForwards(message, p.config.Clock.Now(), out, p.takeOne)
		if err != nil {
			return err
		}
	}
}

func (p *Proposer) takeOne(u *proposal) {
	if err := p.check(u); err != nil {
		u.finish(result{err: err})
	} else if !p.pipeline.enqueue(u) {
		u.finish(result{err: contract.ErrNotReady})
	}
}

// answers gathers results for one stream.
type answers struct {
	mu   sync.Mutex
	next [][]byte // messages
	wake wake.Signal
}

// errAnswerTooLarge says that a proposal's results do not fit a message. It was applied; the node that asks cannot be
// told with what results.
var errAnswerTooLarge = errors.New("results do not fit a message")

func (a *answers) add(id uint64, r result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := len(a.next) - 1
	if last < 0 || len(a.next[last])+answerBytes(r) > maxForwardBytes {
		a.next, last = append(a.next, nil), last+1
	}
	if n := answerBytes(r); n > transport.MaxMessageBytes {
		r = result{err: fmt.Errorf("%w: %w: about %d bytes", contract.ErrUnknownOutcome, errAnswerTooLarge, n)}
	}
	a.next[last] = appendAnswer(a.next[last], id, r)
	a.wake.Nudge()
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
		messages := a.next
		a.next = nil
		a.mu.Unlock()
		for _, m := range messages {
			if err := s.Send(m); err != nil {
				return fmt.Errorf("send answers: %w", err)
			}
		}
	}
}
