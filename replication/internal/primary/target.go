package primary

import (
	"context"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Questions that this room asks and answers. The names are on the wire.
const (
	// To the target of a switchover: begin the next epoch.
	askBegin = peer.Question[succession.Handover, *timeline.Reign]("begin")
	// To the target of a switchover: promise never to begin it; or say that it has begun.
	askRefuse = peer.Question[succession.Handover, *timeline.Reign]("refuse")
	// To the leader of the primary: switch over.
	askMove = peer.Question[moveRequest, *contract.MoveReport]("move")
	// To the leader of the primary: take the switchover under way back.
	askAbort = peer.Question[struct{}, timeline.Position]("take back")
	// To the leader of a region: form a new fleet.
	askFound = peer.Question[struct{}, *timeline.Reign]("form")
	// To the leader of a secondary: take over.
	askFailover = peer.Question[moveRequest, *contract.MoveReport]("failover")
)

// Likewise, at a point: who does not know of points is not asked, and would take over at its last position.
const askFailoverAt = peer.Question[moveRequest, *contract.MoveReport]("failover at")

// To the leader of the target of a switchover: show everything, if the region shows its history late.
const askShowAll = peer.Question[peer.Nothing, timeline.Cursor]("show all")

type moveRequest struct {
	To    string `json:"to,omitempty"`
	Force bool   `json:"force,omitempty"`
	// Accept is how many acknowledged commands may be lost, without Force: who does not know of it refuses.
	Accept *uint64 `json:"accept,omitempty"`
	// At is where to begin; nil: at the last position.
	At *contract.Point `json:"at,omitempty"`
}

// Register registers what this room answers.
func (g *Governor) Register(r *peer.Registry) {
	handed := func(
		q peer.Question[succession.Handover, *timeline.Reign], in func(uint64, succession.Handover) succession.Input,
	) {
		peer.Handle(r, q, peer.FleetNode, func(ctx context.Context, h succession.Handover) (*timeline.Reign, error) {
			if err := peer.MaySpeak(ctx, h.From); err != nil {
				return nil, err
			}
			reply := g.order(ctx, func(call uint64) succession.Input { return in(call, h) })
			return reply.Reign, reply.Err
		})
	}
	handed(askBegin, func(call uint64, h succession.Handover) succession.Input {
		return succession.BeginAsked{Call: call, Handover: h}
	})
	handed(askRefuse, func(call uint64, h succession.Handover) succession.Input {
		return succession.RefuseAsked{Call: call, Handover: h}
	})
	peer.Handle(r, askMove, peer.FleetNode, func(ctx context.Context, in moveRequest) (*contract.MoveReport, error) {
		return g.switchOver(ctx, in.To)
	})
	peer.Handle(r, askAbort, peer.FleetNode, func(ctx context.Context, _ struct{}) (timeline.Position, error) {
		return Orders{g}.takeBack(ctx)
	})
	peer.Handle(r, askFound, peer.FleetNode, func(ctx context.Context, _ struct{}) (*timeline.Reign, error) {
		return Orders{g}.found(ctx)
	})
	peer.Handle(r, askFailover, peer.FleetNode,
		func(ctx context.Context, in moveRequest) (*contract.MoveReport, error) {
			in.At = nil
			return forcedHere(ctx, g, in)
		})
	peer.Handle(r, askFailoverAt, peer.FleetNode,
		func(ctx context.Context, in moveRequest) (*contract.MoveReport, error) { return forcedHere(ctx, g, in) })
	peer.Handle(r, askShowAll, peer.FleetNode, func(ctx context.Context, _ peer.Nothing) (timeline.Cursor, error) {
		return g.config.Late.ShowAll(ctx)
	})
}
