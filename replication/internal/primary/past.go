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

// latecomer does what a governor does about regions that are kept delayed.
type latecomer struct{ Governor *Governor }

// place returns where this region, which takes over, is to begin: at a point in what it has and does not show, or else,
// nil, at its last position, when it shows everything up to that. The report tells what that costs. A region that has
// diverged shows nothing more before it takes that back, in the order itself: the rest is shown when it begins.
func (l latecomer) place(
	ctx context.Context, p *contract.Point, report *contract.MoveReport,
) (*timeline.Cursor, error) {
	g := l.Governor
	s := g.config.Applied.State()
	switch {
	case p == nil && (s.Delay == nil || s.Role() == timeline.Diverged):
		return nil, nil
	case p == nil:
		began := g.config.Clock.Now()
		if _, err := g.config.Late.ShowAll(ctx); err != nil {
			return nil, err
		}
		report.Warnings = append(report.Warnings, showed(g.config.Region, g.config.Clock.Now().Sub(began)))
		return nil, nil
	case s.Charter() != nil:
		return nil, fmt.Errorf("%w: votes are taken, and nobody votes for a region to forget what others have: "+
			"keep clients from the other regions, and mimir fleet recover --keep %s with the same point",
			contract.ErrRejected, g.config.Region)
	}
	at, err := g.config.Late.Find(ctx, *p)
	if err != nil {
		return nil, err
	}
	s = g.config.Applied.State()
	if behind := s.Cursor.Position - at.Position; behind > 0 {
		report.Behind += uint64(behind)
		report.Loss += fmt.Sprintf("; by order, %d commands behind position %d that %s had and did not show are a "+
			"tail: each of its nodes has saved them", behind, at.Position, g.config.Region)
	}
	return &at, nil
}

func showed(region string, took time.Duration) string {
	return fmt.Sprintf("region %s was kept delayed: to show everything took it %s; while it is primary it is not "+
		"delayed", region, took.Round(time.Millisecond))
}

// showAllTime bounds one question to show everything: it is asked again as long as it comes further.
const showAllTime = 10 * time.Second

// untilShown has the target of a switchover show everything, if it shows its history late, while writes go on. It
// returns what to tell of it.
func (l latecomer) untilShown(ctx context.Context, to string) (warnings []string, err error) {
	g := l.Governor
	began := g.config.Clock.Now()
	for shown := timeline.Position(0); ; {
		said := l.late(to)
		if said == nil {
			return warnings, nil
		}
		asking, cancel := context.WithTimeout(ctx, showAllTime)
		_, err := peer.Ask(asking, g.config.Client, said.PeerAddr, askShowAll, peer.Nothing{})
		cancel()
		switch {
		case err == nil:
			return []string{showed(to, g.config.Clock.Now().Sub(began))}, nil
		case ctx.Err() != nil || said.Late.Shown <= shown && g.config.Clock.Now().Sub(began) > 3*showAllTime:
			return nil, fmt.Errorf("%w: region %s is kept delayed, and was asked to show everything: %w",
				contract.ErrHandoff, to, err)
		}
		shown = said.Late.Shown
		g.config.Logger.Info("the target of a switchover is kept delayed, and shows everything first", "to", to,
			"shown", shown, "err", err)
		g.config.Fleet.Refresh()
		if g.config.Life.Pause(ctx, findAgain) != nil {
			return nil, fmt.Errorf("%w: %w", contract.ErrHandoff, err)
		}
	}
}

// late returns what the leader of another region said last, nil unless that shows its history late.
func (l latecomer) late(region string) *fleet.Heard {
	v, _ := l.Governor.config.Fleet.View()
	r := v.Regions[region]
	if said := r.Leader(); said != nil && said.Late != nil {
		return said
	}
	return nil
}
