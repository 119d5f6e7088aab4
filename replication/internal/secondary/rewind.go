package secondary

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// rewind has the voters make the state at the fork, each from what it has itself, and returns when a majority has it,
// as a copy that is staged (F3). All of them must have come to the same.
func (f *Follower) rewind(
	ctx context.Context, s *session, reigns []timeline.Reign,
) (*succession.Copy, error) {
	v := f.config.Applied.View()
	if v.State.Diverged == nil {
		return nil, fmt.Errorf("%w: the region has not diverged", contract.ErrNotReady)
	}
	fork := v.State.Diverged.Fork
	f.setActivity(fmt.Sprintf("going back to position %d", fork))
	f.config.Logger.Info("goes back to the fork by its own checkpoints", "source", s.source, "fork", fork)
	defer f.announce(ctx, s.source, fork)()
	var mu sync.Mutex
	var made *succession.Copy
	err := f.majority(ctx, "the state at the fork", func(ctx context.Context, voter uint64, addr string) error {
		if voter == f.config.Self {
			addr = ""
		}
		c, err := f.config.Copies.Rewind(ctx, addr, v.Index, reigns)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if made != nil && !reflect.DeepEqual(*made, c) {
			return fmt.Errorf("%w: a node came to %+v, another one to %+v", contract.ErrMessage, c.Origin, made.Origin)
		}
		made = &c
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.at = fork
	return made, nil
}
