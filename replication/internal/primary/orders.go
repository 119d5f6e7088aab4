package primary

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Orders takes the orders of operators that move nothing. It is safe for concurrent use.
type Orders struct{ Governor *Governor }

// foundTimeout is how long the leader of a region waits for the word of the others that they have no history.
const foundTimeout = 10 * time.Second

// Abort takes the switchover under way back, whoever asked for it, and returns the last position of the primary, which
// takes writes again: nothing was moved. Any node takes the call. ErrAlreadyBegun: it is too late, the target is
// primary. ErrUnknownOutcome: the target does not say, and is asked until it does. ErrRejected: there is none under
// way.
func (o Orders) Abort(ctx context.Context) (timeline.Position, error) {
	g := o.Governor
	began := g.config.Clock.Now()
	for {
		at, err := o.abortOnce(ctx)
		if err == nil || !peer.Elsewhere(err) || g.config.Clock.Now().Sub(began) > findTimeout {
			return at, err
		}
		g.config.Fleet.Refresh()
		if g.config.Life.Pause(ctx, findAgain) != nil {
			return at, err
		}
	}
}

// abortOnce asks the leader of the primary. A sealed one takes no writes, and leads nevertheless.
func (o Orders) abortOnce(ctx context.Context) (timeline.Position, error) {
	g := o.Governor
	claim := g.config.Standing.Claim()
	if claim.Primary == g.config.Region {
		if g.config.Leadership.Leads() {
			return o.takeBack(ctx)
		}
		return o.abortAt(ctx, g.config.Leader.LeaderAddr(), claim)
	}
	view, _ := g.config.Fleet.View()
	if r := view.Regions[claim.Primary]; r.Leader() != nil {
		return o.abortAt(ctx, r.Leader().PeerAddr, claim)
	}
	return o.abortAt(ctx, "", claim)
}

func (o Orders) abortAt(ctx context.Context, addr string, claim timeline.Reign) (timeline.Position, error) {
	g := o.Governor
	if addr == "" {
		return 0, fmt.Errorf("%w: the leader of region %s, which is primary, is not known", contract.ErrNotReady,
			claim.Primary)
	}
	return peer.Order(ctx, g.config.Client, addr, askAbort, struct{}{})
}

// takeBack runs on the leader of the primary region.
func (o Orders) takeBack(ctx context.Context) (timeline.Position, error) {
	g := o.Governor
	r := g.order(ctx, func(call uint64) succession.Input { return succession.Abort{Call: call} })
	return r.End, r.Err
}

// Found has the region primary begin the history of a new fleet, if no region has one. Any node takes the call.
// ErrRejected: the fleet exists. ErrNotReady: a region does not say whether it has a history.
func (o Orders) Found(ctx context.Context, primary string) (*timeline.Reign, error) {
	g := o.Governor
	if err := g.known(primary); err != nil {
		return nil, err
	}
	began := g.config.Clock.Now()
	for {
		r, err := o.foundOnce(ctx, primary)
		if err == nil || !peer.Elsewhere(err) || g.config.Clock.Now().Sub(began) > findTimeout-foundTimeout {
			return r, err
		}
		g.config.Fleet.Refresh()
		if g.config.Life.Pause(ctx, findAgain) != nil {
			return r, err
		}
	}
}

func (o Orders) foundOnce(ctx context.Context, primary string) (*timeline.Reign, error) {
	g := o.Governor
	addr := ""
	if primary != g.config.Region {
		view, _ := g.config.Fleet.View()
		if r := view.Regions[primary]; r.Leader() != nil {
			addr = r.Leader().PeerAddr
		}
	} else if g.config.Leadership.Leads() {
		return o.found(ctx)
	} else {
		addr = g.config.Leader.LeaderAddr()
	}
	if addr == "" {
		return nil, fmt.Errorf("%w: the leader of region %s is not known", contract.ErrNotReady, primary)
	}
	return peer.Order(ctx, g.config.Client, addr, askFound, struct{}{})
}

// found runs on the leader of the region that forms the fleet.
func (o Orders) found(ctx context.Context) (*timeline.Reign, error) {
	g := o.Governor
	ctx, cancel := context.WithTimeout(ctx, foundTimeout)
	defer cancel()
	r := g.order(ctx, func(call uint64) succession.Input { return succession.Found{Call: call} })
	return r.Reign, r.Err
}

// Forming reports whether this node is about to begin the first epoch of a new fleet. Whoever tells that of itself
// tells also whether it has, as it is after this call.
func (o Orders) Forming() bool {
	g := o.Governor
	g.mu.Lock()
	defer g.mu.Unlock()
	return succession.Forming(g.machine)
}
