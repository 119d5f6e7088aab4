package primary

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Ballot takes what votes want of the governor to its machine. It is safe for concurrent use.
type Ballot struct{ Governor *Governor }

// GiveBack switches over to the region to, from this node: it leads the primary, or nothing is done.
func (b Ballot) GiveBack(ctx context.Context, to string) error {
	v, _ := b.Governor.config.Fleet.View()
	if l := v.Regions[to].Leader(); l != nil && l.ByOrderAlone() {
		return fmt.Errorf("%w: %s becomes primary by order alone", contract.ErrDelayed, to)
	}
	_, err := b.Governor.switchOver(ctx, to)
	return err
}

// Unheard returns for how long this node, which leads a sealed primary, has asked the target to refuse the handoff, in
// vain; zero: it does not.
func (b Ballot) Unheard() time.Duration {
	if h := b.Governor.Handing(); h != nil {
		return h.Unheard
	}
	return 0
}

// Vote casts the region's vote c, on its leader, behind everything that was streamed before. Errors: ErrNotLeader,
// then nothing was and will be cast, and ErrUnknownOutcome.
func (b Ballot) Vote(ctx context.Context, c *timeline.Control) (region.Outcome, error) {
	r := b.Governor.order(ctx, func(call uint64) succession.Input {
		return succession.VoteAsked{Call: call, Control: c}
	})
	return region.Outcome{Outcome: r.Outcome, Why: r.Why}, r.Err
}

// ShowAll returns once this node's region shows everything that it has.
func (b Ballot) ShowAll(ctx context.Context) error {
	_, err := b.Governor.config.Late.ShowAll(ctx)
	return err
}

// Find returns the place of a point in what this node's region has and does not show. Nothing behind it is shown until
// ctx ends.
func (b Ballot) Find(ctx context.Context, p contract.Point) (timeline.Cursor, error) {
	return b.Governor.config.Late.Find(ctx, p)
}

// StandAt is Stand by order, at an earlier place: what the region has behind that and shows to nobody is cut off first.
func (b Ballot) StandAt(
	ctx context.Context, e timeline.Epoch, at *timeline.Cursor,
) (*timeline.Reign, timeline.Mandate, error) {
	return b.stand(ctx, succession.Takeover{Epoch: e, Operator: true, Accept: timeline.NoBound, Anew: true, At: at})
}

// Stand has the region ask for votes in an epoch of at least e, and begin it if a majority votes for it, with what that
// knows. operator says that somebody ordered it.
func (b Ballot) Stand(
	ctx context.Context, e timeline.Epoch, operator bool,
) (*timeline.Reign, timeline.Mandate, error) {
	return b.stand(ctx, succession.Takeover{Epoch: e, Operator: operator, Accept: timeline.NoBound, Anew: true})
}

func (b Ballot) stand(ctx context.Context, order succession.Takeover) (*timeline.Reign, timeline.Mandate, error) {
	r := b.Governor.order(ctx, func(call uint64) succession.Input { order.Call = call; return order })
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
