package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Questions that a node answers. The names are on the wire.
const (
	// Which place covers everything acknowledged before?
	askPosition = peer.Question[peer.Nothing, timeline.Cursor]("position")
	// For Config.OnAsk.
	askEmbedder = peer.Question[[]byte, []byte]("ask")
	// To the leader: a secondary acknowledged this to a node that serves its stream.
	askAck = peer.Question[acknowledgement, peer.Nothing]("ack")
	// Fetch a checkpoint that is to be installed.
	askStage = peer.Question[stageRequest, peer.Nothing]("stage")
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
	peer.Handle(r, askPosition, func(ctx context.Context, _ peer.Nothing) (timeline.Cursor, error) { return n.confirmedPosition(ctx) })
	peer.Handle(r, askEmbedder, n.answerAsk)
	peer.Handle(r, askAck, done(func(_ context.Context, a acknowledgement) error { return n.slots.acknowledge(a) }))
	peer.Handle(r, askStage, done(n.stage))
	peer.Handle(r, askTails, func(context.Context, peer.Nothing) ([]TailInfo, error) { return n.localTails() })
	n.governor.Answer(r)
	n.members.Answer(r)
	n.reporter.Answer(r)
	return r
}

// done is an answerer of a question whose answer says nothing but that it was done.
func done[In any](f func(context.Context, In) error) func(context.Context, In) (peer.Nothing, error) {
	return func(ctx context.Context, in In) (peer.Nothing, error) { return peer.Nothing{}, f(ctx, in) }
}
