package secondary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// fetch gets a copy from any node of the source.
func (f *Follower) fetch(ctx context.Context, s *session, minEpoch timeline.Epoch) (*succession.Copy, error) {
	var errs []error
	for _, addr := range f.config.Fleet.Addresses(s.source) {
		f.config.Logger.Info("bootstraps", "source", s.source, "addr", addr)
		from, c, err := f.config.Copies.Fetch(ctx, addr, minEpoch, s.term, f.progress(f.config.Clock.Now()))
		if err == nil && from != s.source {
			err = fmt.Errorf("%w: copy of region %s, asked %s", contract.ErrMessage, from, s.source)
		}
		if err == nil {
			return &c, nil
		}
		errs = append(errs, fmt.Errorf("bootstrap from %s: %w", addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%w: no address of region %s is known", contract.ErrNotReady, s.source)
	}
	return nil, errors.Join(errs...)
}

// progress keeps the activity that status shows: bytes and the time that remains at the pace so far.
func (f *Follower) progress(began time.Time) func(checkpoint.Progress) {
	return func(p checkpoint.Progress) {
		text := fmt.Sprintf("bootstrap: %d of %d bytes", p.DoneBytes, p.TotalBytes)
		if spent := f.config.Clock.Now().Sub(began); p.DoneBytes > 0 && spent > time.Second {
			left := time.Duration(float64(spent) * float64(p.TotalBytes-p.DoneBytes) / float64(p.DoneBytes))
			text += ", about " + left.Round(time.Second).String() + " left"
		}
		f.setActivity(text)
	}
}

// stage has the other voters fetch the copy from this node, and returns when a majority has it (F3).
func (f *Follower) stage(ctx context.Context, id string, term uint64) error {
	voters := f.config.Group.Voters()
	var mu sync.Mutex
	var wg sync.WaitGroup
	have, errs := 0, []error(nil)
	for _, voter := range voters {
		if voter == f.config.Self {
			mu.Lock()
			have++
			mu.Unlock()
			continue
		}
		addr, ok := f.config.Directory.Addr(voter)
		if !ok {
			continue
		}
		wg.Go(func() {
			err := f.config.Copies.Offer(ctx, addr, id, term)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else {
				have++
			}
		})
	}
	wg.Wait()
	if have <= len(voters)/2 {
		return fmt.Errorf("copy %s is on %d of %d nodes: %w", id, have, len(voters), errors.Join(errs...))
	}
	return nil
}
