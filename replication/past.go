package replication

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/primary"
)

// FailoverAt is Failover, by force, to a region that shows its history late (Config.ApplyDelay), at a point in what it
// has and does not show: what it has behind that is saved as a tail, on each of its nodes, and never applied. Where
// votes are taken it is ErrRejected: see [Voting.RecoverAt]. Errors: as of Failover; ErrRejected also with a point that
// is elsewhere, since what a region shows cannot be taken back.
func (r *MultiRegionReplicator) FailoverAt(ctx context.Context, to string, at Point) (*MoveReport, error) {
	if err := r.node.callable(ctx); err != nil {
		return nil, err
	}
	if fault := pointFault(&at); fault != "" {
		return nil, fmt.Errorf("%w: %s", ErrArgument, fault)
	}
	return r.node.governor.Failover(ctx, to, primary.Force{Any: true, At: &at})
}

// pointFault says what is wrong with a point, "" if nothing.
func pointFault(p *Point) string {
	switch {
	case p.Revision < 0:
		return fmt.Sprintf("revision %d", p.Revision)
	case p.Position != 0 && (p.Revision != 0 || !p.Time.IsZero()) || p.Revision != 0 && !p.Time.IsZero():
		return "a point is a position, a revision or a time, and one of them alone"
	default:
		return ""
	}
}
