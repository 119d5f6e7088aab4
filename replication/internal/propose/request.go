package propose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// request is a control or the beginning of an epoch on its way through the log.
type request struct {
	payload []byte
	closes  bool
	token   uint64          // of a control
	reign   *timeline.Reign // of a beginning
	term    uint64          // in which it was proposed, at; zero: not yet
	at      time.Time
	done    chan answer // has room for the one
}

// answer is what became of a request.
type answer struct {
	outcome region.Outcome
	err     error
}

// request proposes a control or a beginning, in order with the frames, and returns what became of it when it was
// applied here.
func (p *pipeline) request(ctx context.Context, r *request) (region.Outcome, error) {
	r.done = make(chan answer, 1)
	if err := p.line(r); err != nil {
		return region.Outcome{}, err
	}
	select {
	case a := <-r.done:
		return a.outcome, a.err
	case <-ctx.Done():
		return region.Outcome{}, fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, contract.Ended(ctx))
	}
}

// line puts r in line.
func (p *pipeline) line(r *request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended != nil:
		return p.ended
	case p.term == 0:
		return contract.ErrNotLeader
	}
	p.requests = append(p.requests, r)
	p.wake.Nudge()
	return nil
}

// nextRequest returns the first request that was not proposed. If it may end the right to write, nothing is stamped
// any more.
func (p *pipeline) nextRequest() *request {
	p.mu.Lock()
	i := slices.IndexFunc(p.requests, func(r *request) bool { return r.term == 0 })
	if i < 0 || p.term == 0 {
		p.mu.Unlock()
		return nil
	}
	r := p.requests[i]
	r.term, r.at = p.term, p.clock.Now()
	var queue []*proposal
	if r.closes {
		p.closing++
		queue = p.shut()
	}
	p.mu.Unlock()
	p.back.requeue(queue)
	return r
}

func (p *pipeline) proposeRequest(ctx context.Context, r *request) bool {
	_, err := p.group.Propose(ctx, r.term, [][]byte{r.payload})
	switch {
	case err == nil:
		return true
	case errors.Is(err, raftgroup.ErrStopped):
		return false // raft may have taken it: abandon says that nobody knows
	}
	p.mu.Lock()
	p.settle(func(o *request) *answer {
		if o != r {
			return nil
		}
		return &answer{err: fmt.Errorf("%w: %w", contract.ErrNotLeader, err)}
	})
	p.mu.Unlock()
	p.evaluate()
	return true
}

// settle ends the requests for which verdict has an answer, and reports whether there were any. The caller holds mu.
func (p *pipeline) settle(verdict func(*request) *answer) bool {
	before := len(p.requests)
	p.requests = slices.DeleteFunc(p.requests, func(r *request) bool {
		a := verdict(r)
		if a == nil {
			return false
		}
		if r.closes && r.term != 0 {
			p.closing--
		}
		if a.err == nil {
			p.landed = p.clock.Now()
		}
		r.done <- *a
		return true
	})
	return len(p.requests) < before
}
