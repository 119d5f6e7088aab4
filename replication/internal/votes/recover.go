package votes

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// To the leader of the region that is kept.
const askRecover = peer.Question[recovery, *timeline.Reign]("vote-recover")

// Likewise, at a point in what the region has and does not show.
const askRecoverAt = peer.Question[recovery, *timeline.Reign]("vote-recover-at")

// recovery travels as JSON: which region is kept, and from which point on, if it is not from its last position.
type recovery struct {
	contract.Point
	Region string `json:"region,omitempty"` // "": of a version before, whose address may lead to any
}

// Recover makes region primary, and the only voter, without asking the others: a majority of votes is lost for good.
// Whoever orders it answers for that none of the others acknowledges anything any more; after a lease that is so for
// those that hear nobody, but for a primary that is held. Any node takes the call. Errors: ErrRejected if no votes are
// taken, ErrUnknownRegion, ErrNotReady, ErrUnknownOutcome.
//
// Where at is not nil, the region, which is kept delayed, begins there, and not at its last position: what it has
// behind that is saved as a tail.
func (v Orders) Recover(ctx context.Context, region string, at *contract.Point) (*timeline.Reign, error) {
	if region == v.config.Region && v.config.Leadership.Leads() {
		return v.recover(ctx, at)
	}
	addrs := v.config.Fleet.Addresses(region)
	if region == v.config.Region {
		addrs = []string{v.config.Leader.LeaderAddr()}
	}
	if len(addrs) == 0 || addrs[0] == "" {
		return nil, fmt.Errorf("%w: region %s has no leader that is known here", contract.ErrNotReady, region)
	}
	if at != nil {
		return peer.Order(ctx, v.config.Client, addrs[0], askRecoverAt, recovery{*at, region})
	}
	return peer.Order(ctx, v.config.Client, addrs[0], askRecover, recovery{Region: region})
}

// recoverHere is recover for a question that came: about this region, and not by an address of another one.
func (v Orders) recoverHere(ctx context.Context, region string, at *contract.Point) (*timeline.Reign, error) {
	if region != "" && region != v.config.Region {
		return nil, fmt.Errorf("%w: an address of region %s leads to region %s", contract.ErrRejected, region,
			v.config.Region)
	}
	return v.recover(ctx, at)
}

func (v Orders) recover(ctx context.Context, at *contract.Point) (*timeline.Reign, error) {
	s := v.config.Applied.State()
	view, _ := v.config.Fleet.View()
	votes, lease := view.Votes()
	switch {
	case !v.config.Leadership.Leads():
		return nil, contract.ErrNotLeader
	case s.Charter() == nil && votes == "":
		return nil, fmt.Errorf("%w: no votes are taken here, as far as was heard: mimir failover --force",
			contract.ErrRejected)
	case s.Role() == timeline.Diverged:
		return nil, fmt.Errorf("%w: region %s has to rejoin first", contract.ErrDiverged, v.config.Region)
	case s.Charter() != nil:
		lease = s.Charter().Promise()
	}
	ctx, over := context.WithCancel(ctx)
	defer over() // until then nothing is shown behind the place
	place, err := v.place(ctx, at)
	if err != nil {
		return nil, err
	}
	v.config.Logger.Warn("recovery asked for: this region goes on as the only voter, when a lease is over")
	if err := v.config.Life.Pause(ctx, lease); err != nil {
		return nil, fmt.Errorf("%w: %w", contract.ErrNotReady, err)
	}
	if quiet, _ := v.seat.quiet(); place != nil && v.config.Clock.Elapsed() < quiet { // before anything is cut off
		return nil, fmt.Errorf("%w: a primary still asks region %s for its support: stop the nodes of the other "+
			"regions first", contract.ErrNotReady, v.config.Region)
	}
	if s = v.config.Applied.State(); place != nil && *place != s.Cursor { // before there is no way back
		outcome, why := timeline.Would(s, timeline.Cut(s, *place, timeline.Reign{Primary: s.Region}))
		if outcome != timeline.Applied {
			return nil, fmt.Errorf("%w: end the history of region %s at position %d: %s; nothing was changed",
				contract.ErrRejected, s.Region, place.Position, why)
		}
	}
	if s.Charter() == nil { // it lost its ballot, and goes on without votes
		r, _, err := v.config.Governor.StandAt(ctx, 0, place)
		return r, err
	}
	c := *s.Charter()
	c.Epoch, c.Number = max(s.Ballot.Promised, s.HighestClaim().Epoch)+1, c.Number+1
	c.Voters, c.Automatic, c.Paused = v.only(&c, s.Ballot.Identity), false, ""
	c.Hold, c.Under = nil, timeline.Under{}
	if err := faultOf(&c); err != nil {
		return nil, err
	}
	if err := agree(ctx, v.Votes, &c); err != nil { // it judges by itself, and nobody is told how far it had come
		return nil, err
	}
	// Also a primary may have been followed by an epoch of which nobody is left to tell.
	r, _, err := v.config.Governor.StandAt(ctx, c.Epoch, place)
	if err != nil {
		return nil, err
	}
	return r, v.holds(ctx)
}

// only returns the region as the only voter after the charter c, which knows the priorities of all from then on.
func (v Orders) only(c *timeline.Charter, ballot timeline.Nonce) []timeline.Voter {
	own := timeline.Voter{ID: v.config.Region, Identity: ballot, Priority: v.config.Priority}
	for i := range c.Voters { // of an earlier recovery, the region's may be known already
		c.Keeps(&c.Voters[i])
	}
	if p, known := c.Priorities[own.ID]; known {
		own.Priority = p
	}
	own.Priority = max(own.Priority, 1)
	return []timeline.Voter{own}
}

// place returns where the region is to begin, nil if at its last position, of which it shows all then.
func (v Orders) place(ctx context.Context, at *contract.Point) (*timeline.Cursor, error) {
	if at == nil && v.config.Applied.State().Delay != nil {
		return nil, v.config.Governor.ShowAll(ctx)
	}
	if at == nil {
		return nil, nil
	}
	place, err := v.config.Governor.Find(ctx, *at)
	return &place, err
}

// holds waits until the region has a lease of the epoch that it began.
func (v Orders) holds(ctx context.Context) error {
	err := v.until(ctx, v.config.Timeout, func() bool { return v.config.Fence.Holds(v.config.Applied.State()) })
	if err != nil {
		return fmt.Errorf("%w: the epoch has begun, and has no lease yet; see mimir fleet show: %w",
			contract.ErrUnknownOutcome, err)
	}
	return nil
}
