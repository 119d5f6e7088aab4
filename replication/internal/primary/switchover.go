package primary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Switchover moves the primary to the region to, without losing anything. Any node takes the call. On ErrHandoff the
// primary is what it was; on ErrUnknownOutcome the region ends what was begun by itself, one way or the other.
func (g *Governor) Switchover(ctx context.Context, to string) (*contract.MoveReport, error) {
	if err := g.known(to); err != nil {
		return nil, err
	}
	report, err := g.untilFound(ctx, to, func() (*contract.MoveReport, error) { return g.moveOnce(ctx, to) })
	if err == nil && report.Lossy { // while it was looked for
		return nil, fmt.Errorf("%w: region %s is primary, but by a failover: %s", contract.ErrUnknownOutcome, to,
			report.Loss)
	}
	if peer.Elsewhere(err) || peer.Lost(err) {
		err = fmt.Errorf("the primary region does not answer; if it is lost, a failover moves the primary without it: "+
			"%w", err)
	}
	return report, err
}

func (g *Governor) known(to string) error {
	regions := g.config.Regions()
	if slices.Contains(regions, to) {
		return nil
	}
	return fmt.Errorf("%w: %q; known are %s", contract.ErrUnknownRegion, to, strings.Join(regions, ", "))
}

// untilFound repeats a move that has not reached the leader it needs: an election may be under way (G3). A try whose
// connection broke may have: when those who are asked again only say that they are the wrong ones, the outcome is
// unknown.
func (g *Governor) untilFound(ctx context.Context, to string, move func() (*contract.MoveReport,
	error)) (*contract.MoveReport, error) {
	began, before := g.config.Clock.Now(), g.config.Standing.Claim()
	var broke error
	for tries := 1; ; tries++ {
		report, err := move()
		if tries > 1 && errors.Is(err, contract.ErrAlreadyPrimary) {
			return g.moved(ctx, before, to, err)
		}
		if err == nil || !peer.Elsewhere(err) && !peer.Lost(err) {
			return report, err
		}
		if peer.Kind(err) == nil || peer.Lost(err) {
			broke = err
		}
		g.config.Fleet.Refresh()
		late := g.config.Clock.Now().Sub(began) > findTimeout
		if late || g.config.Life.Pause(ctx, findAgain) != nil {
			if broke != nil && peer.Kind(err) != nil {
				err = fmt.Errorf("%w: %v; before: %v", contract.ErrUnknownOutcome, err, broke)
			}
			return nil, err
		}
	}
}

// moved is for a move that finds, when it is repeated, that the region is primary: a try before brought that about,
// and the node that did it ended before it could say so.
func (g *Governor) moved(ctx context.Context, before timeline.Reign, to string, already error) (*contract.MoveReport,
	error) {
	askedSince(ctx, g)
	now := g.config.Standing.Claim()
	if now.Primary != to || now.Epoch <= before.Epoch {
		return nil, already
	}
	r := &contract.MoveReport{
		From: before.Primary, To: to, Epoch: now.Epoch, Position: now.First - 1, Lossy: now.Lossy,
		Warnings: []string{"the node that moved the primary ended before it could tell for how long writes paused"},
	}
	if r.Lossy {
		r.Loss = fmt.Sprintf("how much region %s lacks of %s is unknown: epoch %d began after position %d, and who "+
			"began it did not tell", to, r.From, r.Epoch, r.Position)
	}
	return r, nil
}

func (g *Governor) moveOnce(ctx context.Context, to string) (*contract.MoveReport, error) {
	switch route := g.config.Standing.Route(); {
	case route.Local:
		return g.switchOver(ctx, to)
	case route.Addr != "":
		return peer.Order(ctx, g.config.Client, route.Addr, askMove, moveRequest{To: to})
	default:
		return nil, fmt.Errorf("%w: no region is known to be primary", contract.ErrNotReady)
	}
}

// switchOver runs on the leader of the primary region.
func (g *Governor) switchOver(ctx context.Context, to string) (*contract.MoveReport, error) {
	if to == g.config.Region {
		return nil, fmt.Errorf("%w: %s", contract.ErrAlreadyPrimary, to)
	}
	if !g.config.Decider.Open() {
		return nil, fmt.Errorf("%w: this node does not take writes", contract.ErrNotReady)
	}
	warnings, err := latecomer{g}.untilShown(ctx, to)
	if err != nil {
		return nil, err
	}
	r := g.order(ctx, func(call uint64) succession.Input { return succession.Switchover{Call: call, To: to} })
	if r.Err != nil {
		return nil, r.Err
	}
	g.config.Fleet.Refresh()
	return &contract.MoveReport{From: g.config.Region, To: to, Epoch: r.Reign.Epoch, Position: r.End,
		Pause: r.Pause, Warnings: append(warnings, byOrderAlone(g.config.Applied.State(), to)...)}, nil
}

// byOrderAlone is what to tell who makes a region primary that never becomes it by itself.
func byOrderAlone(s *timeline.State, region string) []string {
	if c := s.Charter(); c == nil || c.Voter(region) == nil || c.Voter(region).Priority != 0 {
		return nil
	}
	return []string{fmt.Sprintf("region %s has priority 0: it becomes primary by order alone, and does not come back "+
		"by itself", region)}
}
