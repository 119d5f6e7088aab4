package reads

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
)

const (
	// Which place covers everything acknowledged before?
	askPosition = peer.Question[peer.Nothing, *confirmed]("position")
	// Is what was read up to this place as safe as what is acknowledged? The answer comes when it is.
	askSettled = peer.Question[region.Place, peer.Nothing]("settled")
	// For the embedder, on the leader of the primary region.
	askEmbedder = peer.Question[[]byte, []byte]("ask")
)

// Ask puts a question to the embedder's OnAsk on the leader of the primary region, and returns its answer. Errors:
// ErrRejected if OnAsk refused, whatever its own error is, of which the text comes along; ErrNotReady if ctx ends
// before there is an answer, for want of such a leader or while an answer is due: OnAsk may have heard the question by
// then. It is asked again when an answer is lost: OnAsk may hear one request more than once.
func (r *Reads) Ask(ctx context.Context, request []byte) ([]byte, error) {
	for {
		if err := r.config.Life.Err(); err != nil {
			return nil, err
		}
		answer, err := r.askOnce(ctx, request)
		if err == nil {
			return answer, nil
		}
		again := peer.Elsewhere(err) || overThere(err)
		if again {
			r.config.Fleet.Refresh()
			_ = r.config.Life.Pause(ctx, retryEvery) // why it was cut short is looked at here
		}
		open := again || peer.Kind(err) == nil // nobody has said yet what becomes of it
		switch ended := r.config.Life.Err(); {
		case open && ended != nil:
			return nil, ended
		case open && ctx.Err() != nil:
			return nil, fmt.Errorf("%w: no answer yet: %w", contract.ErrNotReady, contract.EndedIn(ctx, err))
		case !again:
			return nil, err
		}
	}
}

// overThere reports whether an error is that of a node which ended, or could not say what became of the question: it is
// told as if the answer was lost.
func overThere(err error) bool {
	var remote *peer.RemoteError
	if !errors.As(err, &remote) {
		return false
	}
	kind := peer.Kind(err)
	return kind == nil || kind == contract.ErrClosed || kind == contract.ErrStopped
}

func (r *Reads) askOnce(ctx context.Context, request []byte) ([]byte, error) {
	to := r.config.Standing.Route()
	if to.Local {
		return r.answer(ctx, request)
	}
	if to.Addr == "" {
		return nil, contract.ErrNotReady
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go r.watchRoute(ctx, to, cancel)
	answer, err := peer.Ask(ctx, r.config.Client, to.Addr, askEmbedder, request)
	if err != nil && context.Cause(ctx) == errMoved {
		err = errMoved
	}
	return answer, err
}

// errMoved says that a question is at a node which is not the one to ask any more.
var errMoved = fmt.Errorf("%w: another node takes the writes", contract.ErrNotReady)

// watchEvery is how often it is looked whether a question is still at the right node.
const watchEvery = 200 * time.Millisecond

// watchRoute gives up a question whose answer is due from a node that it would not be put to any more. Such a node may
// stand still, and answer nothing for as long as that lasts.
func (r *Reads) watchRoute(ctx context.Context, to standing.Route, giveUp context.CancelCauseFunc) {
	for r.config.Life.Pause(ctx, watchEvery) == nil {
		if r.config.Standing.Route() != to {
			giveUp(errMoved)
			return
		}
		r.config.Fleet.Refresh()
	}
}

// answer asks this node's embedder, and confirms then that this node has taken the fleet's writes all the while: one
// that stood still may answer from the memory of a leader that was deposed long ago.
func (r *Reads) answer(ctx context.Context, request []byte) ([]byte, error) {
	tenure := r.config.Writes.Tenure()
	if tenure == (contract.Tenure{}) {
		return nil, contract.ErrNotReady
	}
	if r.config.OnAsk == nil {
		return nil, fmt.Errorf("%w: no OnAsk", contract.ErrRejected)
	}
	answer, refusal := r.config.OnAsk(ctx, request)
	if err := r.confirmTenure(ctx, tenure); err != nil {
		return nil, err
	}
	if refusal == nil {
		return answer, nil
	}
	switch kind := peer.Kind(refusal); {
	case ctx.Err() != nil: // it gave up with its caller
		return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, contract.EndedIn(ctx, refusal))
	case kind == contract.ErrNotReady, kind == contract.ErrNotLeader:
		return nil, refusal
	default: // of another call it says what became of that one, and of this one that it was refused
		return nil, fmt.Errorf("%w: %v", contract.ErrRejected, refusal)
	}
}

// confirmTenure returns nil if this node was in its tenure t at a moment after the call. A later leader, if it is that
// one who confirms the place, has written to the log before: once that is applied here, this node knows that it does
// not lead.
func (r *Reads) confirmTenure(ctx context.Context, t contract.Tenure) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	if _, err := r.Confirmed(ctx); err != nil {
		if r.config.Life.Err() == nil {
			err = fmt.Errorf("%w: %w", contract.ErrNotReady, err)
		}
		return err
	}
	if r.config.Writes.Tenure() != t {
		return fmt.Errorf("%w: this node was deposed meanwhile", contract.ErrNotReady)
	}
	return nil
}
