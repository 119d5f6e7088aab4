package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/primary"
)

// Orders are what an operator orders of a fleet beside moves of its primary: a part of MultiRegionReplicator.
type Orders struct{ node *node }

// AbortSwitchover takes the switchover under way back, whoever asked for it and wherever, and returns the last position
// of the primary, which takes writes as before. Any node takes the call. Errors: ErrAlreadyBegun if the target is
// primary already; ErrUnknownOutcome if the target does not say whether it is: it is asked until it does, and nobody
// takes writes before; ErrRejected if no switchover is under way; ErrNotReady.
func (r *Orders) AbortSwitchover(ctx context.Context) (Position, error) {
	if err := r.node.callable(ctx); err != nil {
		return 0, err
	}
	return primary.Orders{Governor: r.node.governor}.Abort(ctx)
}

// Found has region begin the history of a new fleet, once, where no region does by itself
// (Config.FleetExists). Any node takes the call. Errors: ErrRejected if the fleet exists; ErrNotReady if a region does
// not say that it has no history; ErrUnknownRegion, ErrUnknownOutcome.
func (r *Orders) Found(ctx context.Context, region string) (*Reign, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	return primary.Orders{Governor: r.node.governor}.Found(ctx, region)
}

// FormRegion has a node that waits for others of its region, since all their disks are empty or not known, form it
// with those that answer and are empty, at least a majority, and returns with and without whom; nil if the node waits
// for nobody. Who does not answer is asked for 8 s. The caller vouches for those: whatever they acknowledged is not
// part of the region. They join it with empty disks alone. Errors: ErrRejected if a node that answers holds data of the
// region, too few are empty, or the disk has no room; ErrDiskLost if one knows this node with data; ErrUnknownOutcome
// if the disk may say that the region is formed, which ends this node.
func (r *Orders) FormRegion(ctx context.Context) (formed *Formation, err error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	var told error
	err = within(ctx, r.node, func(ctx context.Context) error {
		formed, told = r.node.forming.Form(ctx)
		return told
	})
	switch {
	case err == nil:
		return formed, nil
	case told != nil && r.node.life.Failure() == nil:
		return nil, told // also to a caller who has left
	default:
		return nil, err
	}
}
