package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
)

// Questions that a node answers. The names are on the wire.
const (
	// How are you and your region?
	askReport = peer.Question[peer.Nothing, fleet.Report]("report")
	// To the leader: this is how a member describes itself.
	askPublish = peer.Question[publication, peer.Nothing]("publish")
	// Fetch a checkpoint that is to be installed.
	askStage = peer.Question[stageRequest, peer.Nothing]("stage")
	// To the target of a switchover: begin the next epoch.
	askBegin = peer.Question[handover, *Reign]("begin")
	// To the target of a switchover: promise never to begin it; or say that it has begun.
	askRefuse = peer.Question[handover, *Reign]("refuse")
	// To the leader of the primary: switch over.
	askMove = peer.Question[moveRequest, *MoveReport]("move")
	// To the leader of a secondary: take over.
	askFailover = peer.Question[moveRequest, *MoveReport]("failover")
	// To the leader: change the region's membership.
	askMembers = peer.Question[memberChange, peer.Nothing]("members")
	// Rescue files of this node.
	askTails = peer.Question[peer.Nothing, []TailInfo]("tails")
)

// ask puts a question whose answer says nothing but that it was done.
func ask[In any](ctx context.Context, n *node, addr string, q peer.Question[In, peer.Nothing], in In) error {
	_, err := peer.Ask(ctx, n.client, addr, q, in)
	return err
}

// questions registers who answers what.
func (n *node) questions() *peer.Registry {
	r := peer.NewRegistry(n.life.Err)
	peer.Handle(r, askReport, func(context.Context, peer.Nothing) (fleet.Report, error) { return n.report(), nil })
	n.slots.Register(r)
	n.reads.Register(r)
	peer.Handle(r, askPublish, done(n.publishMember))
	peer.Handle(r, askStage, done(n.stage))
	peer.Handle(r, askBegin, n.beginHandedOver)
	peer.Handle(r, askRefuse, n.refuseHandoff)
	peer.Handle(r, askMove, func(ctx context.Context, in moveRequest) (*MoveReport, error) { return n.switchOver(ctx, in.To) })
	peer.Handle(r, askFailover, func(ctx context.Context, in moveRequest) (*MoveReport, error) { return n.failOver(ctx, in.Force) })
	peer.Handle(r, askMembers, done(n.changeMembers))
	peer.Handle(r, askTails, func(context.Context, peer.Nothing) ([]TailInfo, error) { return n.localTails() })
	return r
}

// done is an answerer of a question whose answer says nothing but that it was done.
func done[In any](f func(context.Context, In) error) func(context.Context, In) (peer.Nothing, error) {
	return func(ctx context.Context, in In) (peer.Nothing, error) { return peer.Nothing{}, f(ctx, in) }
}
