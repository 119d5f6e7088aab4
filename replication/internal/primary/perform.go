package primary

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// perform begins an effect, and has the machine told what came of it (G2). Only Run calls it.
func (g *Governor) perform(ctx context.Context, e succession.Effect) {
	g.tell(e)
	switch e.Do {
	case succession.Refresh:
		g.config.Fleet.Refresh()
	case succession.Stop:
		g.mu.Lock()
		stop := g.running[e.ID]
		g.mu.Unlock()
		if stop != nil {
			stop()
		}
	case succession.Propose:
		g.config.Life.Go(func(ctx context.Context) { g.step(g.propose(ctx, e)) })
	case succession.Begin:
		g.config.Life.Go(func(ctx context.Context) { g.step(g.begin(ctx, e)) })
	case succession.Elect:
		g.config.Life.Go(func(ctx context.Context) {
			mandate, err := g.config.Elections.Elect(ctx, e.Reign, e.Operator, e.Accept)
			g.step(succession.Elected{ID: e.ID, Mandate: mandate, Err: err})
		})
	case succession.AskBegin, succession.AskRefuse:
		g.config.Life.Go(func(ctx context.Context) {
			a := g.ask(ctx, e)
			if a.Err != nil && ctx.Err() == nil && g.first(&g.silent, e) {
				g.config.Logger.Warn("the target of a switchover does not say what it was asked", "to", e.Handover.To,
					"handoff", e.Handover.Handoff, "question", e.Do, "err", a.Err)
			}
			g.step(a)
		})
	default:
		g.follow(ctx, e)
	}
}

func (g *Governor) propose(ctx context.Context, e succession.Effect) succession.Decided {
	a, err := g.config.Decider.Control(ctx, e.Control)
	if err != nil && ctx.Err() == nil {
		g.config.Logger.Warn("region state not changed; will try again", "op", e.Control.Op, "err", err)
	}
	if e.Control.Op == timeline.OpUnseal && err == nil && a.Outcome == timeline.Applied {
		g.config.Logger.Info("switchover aborted; the region takes writes again", "epoch", e.Control.Epoch,
			"handoff", e.Control.Handoff)
	}
	return succession.Decided{ID: e.ID, Outcome: a.Outcome, Why: a.Why, Err: err}
}

func (g *Governor) begin(ctx context.Context, e succession.Effect) succession.Decided {
	r := e.Reign
	if r.Lossy && g.level(ctx) >= timeline.LevelPlaces {
		r.Place = g.config.place()
	}
	_, err := g.config.Decider.Begin(ctx, r)
	switch {
	case errors.Is(err, contract.ErrRejected):
		return succession.Decided{ID: e.ID, Outcome: timeline.Refused, Why: err.Error()}
	case err != nil:
		g.config.Logger.Warn("epoch not begun", "epoch", e.Reign.Epoch, "err", err)
	}
	return succession.Decided{ID: e.ID, Outcome: timeline.Applied, Err: err}
}

// level returns the lowest level that is known of the fleet. Of a node that never answered nothing is: should it be
// older, it says so when it comes to what it cannot apply.
func (g *Governor) level(ctx context.Context) timeline.Level {
	level := g.siblings(ctx)
	v, _ := g.config.Fleet.View()
	for _, r := range v.Regions {
		level = min(level, r.Level)
	}
	return level
}

// siblings is level of this region alone.
func (g *Governor) siblings(ctx context.Context) timeline.Level {
	ctx, cancel := context.WithTimeout(ctx, g.config.CallTimeout)
	defer cancel()
	return g.config.Level(ctx)
}

// place returns the place of the region in the fleet.
func (c *Config) place() uint8 {
	if h := c.Applied.State().Roster.Home(c.Region); h != nil {
		return h.Place
	}
	i, _ := slices.BinarySearch(c.Regions(), c.Region)
	return uint8(min(i+1, timeline.MaxPlace))
}

// follow runs a Stream, Fetch, Stage or Rewind until it has ended, or a Stop ends it.
func (g *Governor) follow(ctx context.Context, e succession.Effect) {
	ctx, cancel := context.WithCancel(ctx)
	g.mu.Lock()
	g.running[e.ID] = cancel
	g.mu.Unlock()
	g.config.Life.Go(func(context.Context) {
		defer cancel()
		ended := g.config.Follower.Run(ctx, e)
		g.mu.Lock()
		delete(g.running, e.ID)
		g.mu.Unlock()
		g.step(ended)
	})
}

// ask puts a question of a switchover to the leader of the target, at each of its nodes in turn.
func (g *Governor) ask(ctx context.Context, e succession.Effect) succession.Answered {
	ctx, cancel := context.WithTimeout(ctx, e.Until-g.now())
	defer cancel()
	q := askBegin
	if e.Do == succession.AskRefuse {
		q = askRefuse
	}
	out := succession.Answered{ID: e.ID, Handover: e.Handover, Again: true}
	out.Err = fmt.Errorf("%w: no address of region %s is known", contract.ErrNotReady, e.Handover.To)
	for _, addr := range g.config.Fleet.Addresses(e.Handover.To) {
		begun, err := peer.Ask(ctx, g.config.Client, addr, q, e.Handover)
		switch {
		case err != nil && peer.Elsewhere(err):
			out.Err = err
			continue
		case err != nil:
			out.Err, out.Again = err, false
		case begun == nil && e.Do == succession.AskBegin:
			out.Err, out.Again = fmt.Errorf("%w: %s says neither that it has begun nor that it cannot",
				contract.ErrMessage, addr), false
		default:
			out.Begun, out.Refused, out.Err, out.Again = begun, begun == nil, nil, false
		}
		return out
	}
	return out
}

// tell logs what is worth a line to people.
func (g *Governor) tell(e succession.Effect) {
	logger := g.config.Logger
	switch asks := e.Do == succession.AskBegin || e.Do == succession.AskRefuse; {
	case asks && !g.first(&g.asked, e):
	case e.Do == succession.AskBegin:
		logger.Info("asks the target of a switchover to begin", "to", e.Handover.To, "epoch", e.Handover.Epoch,
			"position", e.Handover.End.Position, "handoff", e.Handover.Handoff)
	case e.Do == succession.AskRefuse:
		logger.Warn("asks the target of a switchover to refuse, so that this region goes on", "to", e.Handover.To,
			"epoch", e.Handover.Epoch, "handoff", e.Handover.Handoff)
	case e.Do == succession.Begin:
		logger.Info("begins an epoch", "epoch", e.Reign.Epoch, "handoff", e.Reign.Handoff, "lossy", e.Reign.Lossy)
	case e.Do == succession.Stop && e.Why != "":
		logger.Warn("goes back to the fork no more by its own checkpoints; takes a copy of the whole state", "err",
			e.Why)
	case e.Do == succession.Propose:
		g.tellControl(e.Control)
	}
}

func (g *Governor) tellControl(c *timeline.Control) {
	logger := g.config.Logger
	switch c.Op {
	case timeline.OpSeal:
		logger.Info("seals for a switchover", "to", c.To, "epoch", c.Epoch, "handoff", c.Handoff)
	case timeline.OpKeep:
		logger.Warn("goes on with the history that it had given up, by force", "last", c.At, "epoch", c.Epoch)
	case timeline.OpYield:
		logger.Info("yields to a higher claim", "epoch", c.Claim.Epoch, "primary", c.Claim.Primary)
	case timeline.OpDiverge:
		logger.Warn("history has a fork; the tail is saved and the region rejoins", "fork", c.Fork, "last", c.At,
			"epoch", c.Claim.Epoch, "primary", c.Claim.Primary)
	}
}
