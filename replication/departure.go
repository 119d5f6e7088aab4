package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/recall"
)

// farewell is how long a node that was removed stays, so that the answer to whoever removed it by way of this node
// gets out.
const farewell = 100 * time.Millisecond

// departure ends a node that its region has removed. Its methods do not block, and may be called often.
type departure struct {
	config *Config
	life   *life.Life
}

// ended ends the node because its group cannot go on, or its disk went back.
func (d departure) ended(cause error) {
	if errors.Is(cause, raftgroup.ErrRemoved) {
		d.begin(cause)
		return
	}
	d.life.Fail(d.giveUp(asDamage(cause)))
}

// giveUp returns cause. If it says that this node must not take part again with the disk that it has, that is on the
// disk before the node ends: those who know may be gone when it is started the next time.
func (d departure) giveUp(cause error) error {
	if !errors.Is(cause, ErrDiskLost) && !errors.Is(cause, raftgroup.ErrRegionLost) &&
		!errors.Is(cause, recall.ErrOutvoted) && !fellBehind(cause) {
		return cause
	}
	if err := recall.GiveUp(d.config.FS, d.config.path(diskFile), cause); err != nil {
		return fmt.Errorf("%w (which could not be noted, so do not start it again: %w)", cause, err)
	}
	return cause
}

// begin ends the node because it was removed. told says how that is known.
func (d departure) begin(told error) {
	d.life.Try(func(ctx context.Context) {
		if d.life.Pause(ctx, farewell) == nil {
			d.life.Fail(d.why(told))
		}
	})
}

// region ends the node because its region was removed from the fleet. told says how that is known.
func (d departure) region(told error) {
	d.life.Try(func(ctx context.Context) {
		if d.life.Pause(ctx, farewell) == nil {
			d.life.Fail(told)
		}
	})
}

// why says that the node was removed, and what to do.
func (d departure) why(told error) error {
	c := d.config
	return fmt.Errorf("%w: %s of region %s is no member any more and takes no part again, its data in %s stays as it "+
		"is; to use the machine again, add a node under a new name with an empty data directory: %w",
		ErrRemoved, c.NodeID, c.RegionID, c.DataDir, told)
}

// orEnded is err of a call, or what ended the node meanwhile, if that is why there is an error.
func orEnded(n *node, err error) error {
	if ended := n.life.Failure(); ended != nil && errors.Is(err, ErrStopped) {
		return ended
	}
	return err
}
