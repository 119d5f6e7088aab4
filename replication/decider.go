package replication

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// decider takes decisions through the pipeline, in order with the frames.
type decider struct{ node *node }

// Control implements primary.Decider.
func (d decider) Control(ctx context.Context, c *timeline.Control) (region.Outcome, error) {
	return d.node.control(ctx, c)
}

// Begin implements primary.Decider.
func (d decider) Begin(ctx context.Context, r timeline.Reign) (*timeline.Reign, error) {
	return d.node.begin(ctx, r)
}

// Open implements primary.Decider.
func (d decider) Open() bool { return d.node.pipeline.isOpen() }

// control proposes c and returns what became of it.
func (n *node) control(ctx context.Context, c *timeline.Control) (region.Outcome, error) {
	c.Token = token()
	payload, err := timeline.EncodeControl(c)
	if err != nil {
		return region.Outcome{}, err
	}
	closes := c.Op != timeline.OpSlots && c.Op != timeline.OpMember
	return n.pipeline.request(ctx, &request{payload: payload, closes: closes, token: c.Token})
}

// begin proposes the beginning of an epoch at this node's applied position, and returns the reign once it is applied.
func (n *node) begin(ctx context.Context, r Reign) (*Reign, error) {
	s := &n.applied.View().State
	r.First, r.Previous, r.Nonce = s.Cursor.Position+1, s.Cursor.Chain, nonce()
	a, err := n.pipeline.request(ctx, &request{payload: timeline.AppendReign(nil, r), closes: true, reign: &r})
	if err != nil {
		return nil, fmt.Errorf("begin epoch %d: %w", r.Epoch, err)
	}
	if a.Outcome != timeline.Applied {
		return nil, fmt.Errorf("begin epoch %d: %w: %s", r.Epoch, ErrRejected, a.Why)
	}
	return &r, nil
}
