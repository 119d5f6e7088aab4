package reads

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// confirmed is what the primary says to a read. It travels as JSON: never change a name.
type confirmed struct {
	region.Place
	// Settled is up to where what is read is as safe as what is acknowledged; nil: everything is, since nothing bounds
	// what a failover may lose, or from a node that does not tell.
	Settled *contract.Position `json:"settled,omitempty"`
}

// Begin begins a linearizable read, as Barrier does, and returns how it ends: end is called after the storage was read,
// and returns once what was seen there is as safe as what was acknowledged. The storage has what is applied, which is
// acknowledged later. Errors of end: ErrNotReady if that is not so before its ctx ends, or not any more, because
// another reign cut it off meanwhile; ErrClosed, ErrStopped.
func (r *Reads) Begin(ctx context.Context) (end func(ctx context.Context) error, err error) {
	if err := r.config.Life.Err(); err != nil {
		return nil, err
	}
	replaced := r.config.Applied.Replaced()
	at, err := r.linearizable(ctx)
	if err != nil {
		return nil, err
	}
	if at.Settled == nil || at.Reign == nil {
		return isSettled, nil
	}
	return func(ctx context.Context) error { return r.end(ctx, at, replaced) }, nil
}

// isSettled ends a read of which nothing has to be waited for.
func isSettled(context.Context) error { return nil }

func (r *Reads) end(ctx context.Context, at *confirmed, replaced uint64) error {
	seen, err := r.seen(at, replaced)
	if err != nil || *seen.Reign == *at.Reign && seen.Position <= *at.Settled {
		return err
	}
	for {
		_, err := r.settling.wait(ctx)
		if _, cut := r.seen(at, replaced); cut != nil { // what the round was about is another history by now
			return cut
		}
		if err == nil {
			return nil
		}
		if err := r.again(ctx, err); err != nil {
			return err
		}
	}
}

// seen returns up to where lies what was read since at was confirmed, if the history here is known to have that still:
// whatever took its place since, a copy or an older state of the same reign, may lack some of it.
func (r *Reads) seen(at *confirmed, replaced uint64) (region.Place, error) {
	seen := r.config.Applied.Seen()
	if seen.GivenUp || seen.Replaced != replaced {
		return seen.Place, fmt.Errorf("%w: what was read in epoch %d may have been cut since, now in epoch %d of %s: "+
			"read again", contract.ErrNotReady, at.Reign.Epoch, seen.Reign.Epoch, seen.Reign.Primary)
	}
	return seen.Place, nil
}

// settle returns once what was seen before is as safe as what was acknowledged, by the word of the primary.
func (r *Reads) settle(ctx context.Context) (*confirmed, error) {
	c := &r.config
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	seen := c.Applied.Seen().Place
	var err error
	switch to := c.Standing.Route(); {
	case to.Local:
		err = c.Writes.Settle(ctx, seen)
	case to.Addr == "":
		err = contract.ErrNotReady
	default:
		_, err = peer.Ask(ctx, c.Client, to.Addr, askSettled, seen)
	}
	if peer.Unknown(err) { // and such a node holds no read up
		err = nil
	}
	if err != nil {
		c.Fleet.Refresh()
	}
	return nil, err
}
