package reads

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

const (
	// Which place covers everything acknowledged before?
	askPosition = peer.Question[peer.Nothing, region.Place]("position")
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
	return peer.Ask(ctx, r.config.Client, to.Addr, askEmbedder, request)
}

// answer asks this node's embedder.
func (r *Reads) answer(ctx context.Context, request []byte) ([]byte, error) {
	if !r.config.Writes.Open() {
		return nil, contract.ErrNotReady
	}
	if r.config.OnAsk == nil {
		return nil, fmt.Errorf("%w: no OnAsk", contract.ErrRejected)
	}
	answer, err := r.config.OnAsk(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", contract.ErrRejected, err)
	}
	return answer, nil
}
