package primary

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// place returns where this region, which takes over, is to begin: at a point in what it has and does not show, or else,
// nil, at its last position, when it shows everything up to that. The report tells what that costs.
func (g *Governor) place(
	ctx context.Context, p *contract.Point, report *contract.MoveReport,
) (*timeline.Cursor, error) {
	s := g.config.Applied.State()
	switch {
	case p == nil && s.Delay == nil:
		return nil, nil
	case p == nil:
		began := g.config.Clock.Now()
		if _, err := g.config.Late.ShowAll(ctx); err != nil {
			return nil, err
		}
		report.Warnings = append(report.Warnings, showed(g.config.Region, g.config.Clock.Now().Sub(began)))
		return nil, nil
	case s.Charter() != nil:
		return nil, fmt.Errorf("%w: votes are taken, and nobody votes for a region to forget what others have: stop the "+
			"clients of the other regions, and mimir fleet recover --keep %s with the same point", contract.ErrRejected,
			g.config.Region)
	}
	at, err := g.config.Late.Find(ctx, *p)
	if err != nil {
		return nil, err
	}
	s = g.config.Applied.State()
	if behind := s.Cursor.Position - at.Position; behind > 0 {
		report.Behind += uint64(behind)
		report.Loss += fmt.Sprintf("; by order, %d commands behind position %d that %s had and did not show are a tail: "+
			"each of its nodes has saved them", behind, at.Position, g.config.Region)
	}
	return &at, nil
}

func showed(region string, took time.Duration) string {
	return fmt.Sprintf("region %s was kept delayed: to show everything took it %s; while it is primary it is not delayed",
		region, took.Round(time.Millisecond))
}

// showAllTime bounds one question to show everything: it is asked again as long as it comes further.
const showAllTime = 10 * time.Second

// untilShown has the target of a switchover show everything, if it shows its history late, while writes go on. It
// returns what to tell of it.
func (g *Governor) untilShown(ctx context.Context, to string) (warnings []string, err error) {
	began := g.config.Clock.Now()
	for shown := timeline.Position(0); ; {
		l := g.late(to)
		if l == nil {
			return warnings, nil
		}
		asking, cancel := context.WithTimeout(ctx, showAllTime)
		_, err := peer.Ask(asking, g.config.Client, l.PeerAddr, askShowAll, peer.Nothing{})
		cancel()
		switch {
		case err == nil:
			return []string{showed(to, g.config.Clock.Now().Sub(began))}, nil
		case ctx.Err() != nil || l.Late.Shown <= shown && g.config.Clock.Now().Sub(began) > 3*showAllTime:
			return nil, fmt.Errorf("%w: region %s is kept delayed, and was asked to show everything: %w",
				contract.ErrHandoff, to, err)
		}
		shown = l.Late.Shown
		g.config.Logger.Info("the target of a switchover is kept delayed, and shows everything first", "to", to,
			"shown", shown, "err", err)
		g.config.Fleet.Refresh()
		if g.config.Life.Pause(ctx, findAgain) != nil {
			return nil, fmt.Errorf("%w: %w", contract.ErrHandoff, err)
		}
	}
}

// late returns what the leader of another region said last, nil unless that shows its history late.
func (g *Governor) late(region string) *fleet.Heard {
	v, _ := g.config.Fleet.View()
	r := v.Regions[region]
	if l := r.Leader(); l != nil && l.Late != nil {
		return l
	}
	return nil
}
