package reads

import (
	"context"
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
// ErrNotReady if there is no such leader before ctx ends, ErrRejected if OnAsk refused. It asks again when an answer is
// lost: OnAsk may hear of one request more than once.
func (r *Reads) Ask(ctx context.Context, request []byte) ([]byte, error) {
	for {
		if err := r.config.Life.Err(); err != nil {
			return nil, err
		}
		answer, err := r.askOnce(ctx, request)
		if err == nil || !peer.Elsewhere(err) {
			return answer, err
		}
		r.config.Fleet.Refresh()
		if r.config.Life.Pause(ctx, retryEvery) != nil {
			return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, err)
		}
	}
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
	if refusal != nil {
		if peer.Elsewhere(refusal) {
			return nil, refusal
		}
		return nil, fmt.Errorf("%w: %w", contract.ErrRejected, refusal)
	}
	return answer, nil
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
