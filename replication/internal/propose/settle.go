package propose

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Settled returns up to where what is read in the reign of s is as safe as what is acknowledged, by what is known at
// the primary's leader. ok is false if nothing bounds what a failover may lose: then everything is.
func (p *Proposer) Settled(s *timeline.State) (to contract.Position, ok bool) {
	to, k, ok := p.config.Standing.Bound(s)
	if !ok {
		return 0, false
	}
	if k > 1 { // no voter of a lease votes for who has not what was before this reign, or is said to be acknowledged
		have := max(p.config.Durability.Reached(k, s), timeline.Latest(s.Reigns).First-1)
		if c := s.Charter(); c != nil {
			have = max(have, c.Under.In(s.Cursor.Epoch))
		}
		to = min(to, have)
	}
	return to, true
}

// Settle returns once what was applied in this region's reign up to a place may be acknowledged, by the very rule by
// which writes are: what was read there is not lost then, or within what a failover may lose. Only the primary's leader
// knows. Error: ErrNotReady if that is not so before ctx ends, or cannot be any more.
func (p *Proposer) Settle(ctx context.Context, at region.Place) error {
	if err := p.config.Applied.Reach(ctx, at); err != nil {
		return err
	}
	s := p.config.Applied.State()
	if latest := timeline.Latest(s.Reigns); at.Reign == nil || *at.Reign != latest {
		return fmt.Errorf("%w: epoch %d has begun since epoch %d was read", contract.ErrNotReady, latest.Epoch,
			at.Epoch)
	}
	if to, ok := p.Settled(s); !ok || at.Position <= to {
		if _, admitted := p.config.Standing.Admits(at.Epoch, at.Position); admitted {
			return nil
		}
	}
	done := make(chan result, 1)
	u := &proposal{apart: true, read: true, finish: func(r result) { done <- r }}
	if d, ok := ctx.Deadline(); ok {
		u.deadline = d
	}
	p.pipeline.applied(u, &contract.Receipt{Epoch: at.Epoch, Position: at.Position, Regions: 1})
	defer u.withdraw()
	var why error
	select {
	case r := <-done:
		if r.err == nil {
			return nil
		}
		why = r.err
	case <-ctx.Done():
		why = contract.Ended(ctx)
	case <-p.config.Life.Stopped():
		return p.config.Life.Failure()
	}
	return fmt.Errorf("%w: a failover may lose what was read, up to position %d: %v", contract.ErrNotReady, at.Position,
		why)
}
