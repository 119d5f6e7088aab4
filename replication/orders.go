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
