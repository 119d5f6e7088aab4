package primary

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Ballot takes what votes want of the governor to its machine. It is safe for concurrent use.
type Ballot struct{ Governor *Governor }

// GiveBack switches over to the region to, from this node: it leads the primary, or nothing is done.
func (b Ballot) GiveBack(ctx context.Context, to string) error {
	_, err := b.Governor.switchOver(ctx, to)
	return err
}

// Vote casts the region's vote c, on its leader, behind everything that was streamed before. Errors: ErrNotLeader,
// then nothing was and will be cast, and ErrUnknownOutcome.
func (b Ballot) Vote(ctx context.Context, c *timeline.Control) (region.Outcome, error) {
	r := b.Governor.order(ctx, func(call uint64) succession.Input {
		return succession.VoteAsked{Call: call, Control: c}
	})
	return region.Outcome{Outcome: r.Outcome, Why: r.Why}, r.Err
}

// Stand has the region ask for votes in an epoch of at least e, and begin it if a majority votes for it, with what that
// knows. operator says that somebody ordered it.
func (b Ballot) Stand(
	ctx context.Context, e timeline.Epoch, operator bool,
) (*timeline.Reign, timeline.Mandate, error) {
	r := b.Governor.order(ctx, func(call uint64) succession.Input {
		return succession.Takeover{Call: call, Epoch: e, Operator: operator, Accept: timeline.NoBound, Anew: true}
	})
	if r.Err != nil {
		return nil, timeline.Mandate{}, r.Err
	}
	b.Governor.config.Fleet.Refresh()
	var mandate timeline.Mandate
	if r.Mandate != nil {
		mandate = *r.Mandate
	}
	return r.Reign, mandate, nil
}
