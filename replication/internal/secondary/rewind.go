package secondary

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// rewind has the voters make the state at the fork, each from what it has itself, and returns when a majority has it,
// as a copy that is staged (F3). All of them must have come to the same. again says of an error that so few nodes said
// that they cannot that a majority may yet.
func (f *Follower) rewind(
	ctx context.Context, s *session, reigns []timeline.Reign,
) (c *succession.Copy, again bool, err error) {
	v := f.config.Applied.View()
	if v.State.Diverged == nil {
		return nil, false, fmt.Errorf("%w: the region has not diverged", contract.ErrNotReady)
	}
	fork := v.State.Diverged.Fork
	more := len(timeline.Until(reigns, fork)) < len(reigns) || timeline.Latest(reigns).First <= fork
	if more && f.config.Level(ctx) < timeline.LevelCount {
		return nil, false, fmt.Errorf("%w: a node of the region is too old to go back over more than one reign",
			contract.ErrNotReady)
	}
	f.setActivity(fmt.Sprintf("going back to position %d", fork))
	f.config.Logger.Info("goes back to the fork by its own checkpoints", "source", s.source, "fork", fork)
	defer f.announce(ctx, newNotice(fork), s.source)()
	var mu sync.Mutex
	var made *succession.Copy
	cannot := 0
	err = f.majority(ctx, "the state at the fork", func(ctx context.Context, voter uint64, addr string) error {
		if voter == f.config.Self {
			addr = ""
		}
		c, err := f.config.Copies.Rewind(ctx, addr, v.Index, reigns)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if addr == "" || answered(err) {
				cannot++
			}
			return err
		}
		if made != nil && !reflect.DeepEqual(*made, c) {
			cannot++
			return fmt.Errorf("%w: a node came to %+v, another one to %+v", contract.ErrMessage, c.Origin, made.Origin)
		}
		made = &c
		return nil
	})
	if err != nil {
		voters := len(f.config.Group.Voters())
		return nil, voters-cannot > voters/2, err
	}
	s.at = fork
	made.Old = f.config.Level(ctx) < timeline.LevelCount
	return made, false, nil
}

// answered reports whether an error is what a node said that was asked, and not that it could not be: it is away, or
// ends just now.
func answered(err error) bool {
	var remote *peer.RemoteError
	ends := errors.Is(err, contract.ErrClosed) || errors.Is(err, contract.ErrStopped)
	return errors.As(err, &remote) && !ends
}
