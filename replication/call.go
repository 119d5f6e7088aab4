package replication

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/peer"
)

// ask puts a question whose answer says nothing but that it was done.
func ask[In any](ctx context.Context, n *node, addr string, q peer.Question[In, peer.Nothing], in In) error {
	_, err := peer.Ask(ctx, n.client, addr, q, in)
	return err
}

// questions registers who answers what.
func (n *node) questions() *peer.Registry {
	r := peer.NewRegistry(n.life.Err)
	n.slots.Register(r)
	n.reads.Register(r)
	n.governor.Register(r)
	n.members.Register(r)
	n.reporter.Register(r)
	n.staging.Answer(r, func() uint64 { return n.group.Status().Term })
	n.tails.Answer(r)
	return r
}

// done is an answerer of a question whose answer says nothing but that it was done.
func done[In any](f func(context.Context, In) error) func(context.Context, In) (peer.Nothing, error) {
	return func(ctx context.Context, in In) (peer.Nothing, error) { return peer.Nothing{}, f(ctx, in) }
}
