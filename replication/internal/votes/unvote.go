package votes

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Removable returns why the vote of a region cannot be taken now, nil if it can: what Unvote would meet with before it
// writes anything.
func (v Orders) Removable(region string) error {
	c, err := v.next()
	if err != nil {
		return err
	}
	if c.Hold != nil {
		return fmt.Errorf("%w: %s: mimir fleet hold --end first", contract.ErrRejected,
			ballot.Held(v.config.Applied.State()))
	}
	if err := v.remove(c, region); err != nil {
		return err
	}
	if err := faultOf(c); err != nil {
		return err
	}
	return v.settled(c)
}

// Unvote takes the vote of a region, and returns when a majority of the others keeps that.
func (v Orders) Unvote(ctx context.Context, region string) error {
	_, err := v.known(ctx, func() (*timeline.Charter, error) { return v.change(ctx, Change{Remove: region}) })
	return err
}
