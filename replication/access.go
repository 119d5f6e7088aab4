package replication

import (
	"context"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/propose"
)

// Propose writes cs as one atomic unit and returns where it is in the history, with the storage's results. Any node
// takes it and forwards it to the leader of the primary region. While there is none (an election, a switchover), it
// waits.
//
// Errors: ErrNotReady and ErrTooLarge say that nothing was and will be written; ErrUnknownOutcome says that it cannot
// be known; ErrUnderReplicated comes with a receipt; ErrClosed, ErrStopped.
func (n *node) Propose(ctx context.Context, cs []*Command, opts ...ProposeOption) (*Receipt, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	var o propose.Options
	for _, option := range opts {
		option(&o)
	}
	return n.proposer.Propose(ctx, cs, o)
}

// Apply implements Replicator.
func (n *node) Apply(c *Command, timeout time.Duration) error {
	return n.ApplyBatch([]*Command{c}, timeout)
}

// ApplyBatch implements Replicator.
func (n *node) ApplyBatch(cs []*Command, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := n.Propose(ctx, cs)
	return err
}

// ReadBarrier returns once a read of this node's storage is as fresh as l asks. With Linearizable it sees every write
// that was acknowledged anywhere in the fleet before the call; at a secondary one small message crosses to the primary.
// Errors: ErrNotReady if that cannot be confirmed before ctx ends, ErrClosed, ErrStopped.
func (n *node) ReadBarrier(ctx context.Context, l Level) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return n.reads.Barrier(ctx, l)
}

// WaitPosition returns once everything up to p is applied on this node.
func (n *node) WaitPosition(ctx context.Context, p Position) error {
	if err := n.life.Err(); err != nil {
		return err
	}
	return n.reads.WaitPosition(ctx, p)
}

// Ask puts a question to the embedder's OnAsk on the leader of the primary region, and returns its answer. Errors:
// ErrNotReady if there is no such leader before ctx ends, ErrRejected if OnAsk refused.
func (n *node) Ask(ctx context.Context, request []byte) ([]byte, error) {
	if err := n.life.Err(); err != nil {
		return nil, err
	}
	return n.reads.Ask(ctx, request)
}
