package replication

import (
	"context"
	"fmt"
	"time"
)

// Reading is how reads of a node's storage become as fresh as they have to be: a part of MultiRegionReplicator.
type Reading struct{ node *node }

// ReadBarrier returns once a read of this node's storage is as fresh as l asks. With Linearizable it sees every write
// that was acknowledged anywhere in the fleet before the call; at a secondary one small message crosses to the
// primary. It may see more: what is applied and not acknowledged yet; see BeginRead. Errors: ErrNotReady if that cannot
// be confirmed before ctx ends, ErrDelayed with Linearizable where the region shows its history late
// (Config.ApplyDelay), ErrArgument, ErrClosed, ErrStopped.
func (r *Reading) ReadBarrier(ctx context.Context, l Level) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	if l != Linearizable && l != Serializable {
		return fmt.Errorf("%w: level %d of a read", ErrArgument, l)
	}
	return r.node.reads.Barrier(ctx, l)
}

// BeginRead begins a linearizable read of this node's storage, as ReadBarrier does. end is called when it was read,
// before anybody is told what was there: it returns once a failover loses no more of that than of what was
// acknowledged, where votes are taken and something bounds it: with VoteSettings.MaxLoss zero, nothing. Elsewhere it
// returns nil at once. Errors of end: ErrNotReady if that is not so before its ctx ends, or another reign may have
// cut what was read: then read again; ErrClosed, ErrStopped.
func (r *Reading) BeginRead(ctx context.Context) (end func(ctx context.Context) error, err error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return r.node.reads.Begin(ctx)
}

// ReadWithin returns once what a read of this node's storage misses was acknowledged, anywhere in the fleet, no longer
// ago than age. It costs nothing if a linearizable barrier of this node began no longer ago, and otherwise what one
// costs. Errors: as of ReadBarrier with Linearizable, above all ErrNotReady: a read that is older is refused;
// ErrDelayed, ErrClosed, ErrStopped.
func (r *Reading) ReadWithin(ctx context.Context, age time.Duration) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.reads.Within(ctx, age)
}

// WaitPosition returns once everything up to p is applied on this node, or with ErrNotReady when ctx ends first. The
// write that was acknowledged at p is among it only as long as no failover has cut that off, and another one has its
// position: see WaitReceipt.
func (r *Reading) WaitPosition(ctx context.Context, p Position) error {
	if err := r.node.callable(ctx); err != nil {
		return err
	}
	return r.node.reads.WaitPosition(ctx, p)
}

// WaitReceipt returns once the write of w is applied on this node, so that a read of its storage sees it. Errors:
// ErrDiverged if it is known here that the history has gone on without that write, as after a forced failover: it may
// be in a tail; ErrNotReady when ctx ends first; ErrArgument, ErrClosed, ErrStopped. Of two reigns of one epoch, which
// regions that were forced apart without votes may have begun, it may take one for the other.
func (r *Reading) WaitReceipt(ctx context.Context, w *Receipt) error {
	return waitReceipt(ctx, r.node, w)
}

func waitReceipt(ctx context.Context, n *node, w *Receipt) error {
	if err := n.callable(ctx); err != nil {
		return err
	}
	if w == nil || w.Epoch == 0 || w.Position == 0 {
		return fmt.Errorf("%w: no receipt of a write", ErrArgument)
	}
	return n.reads.WaitWrite(ctx, w.Epoch, w.Position)
}
