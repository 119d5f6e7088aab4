package secondary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	// announceEvery is how often the source is told that this region takes a copy, so that it keeps the log behind it.
	announceEvery = 5 * time.Second
	// leastPatience is for how long nodes are waited for once a majority has a copy, at least.
	leastPatience = time.Second
)

// announce tells every node of some regions that this one takes a copy, and where that is, until the returned function
// is called. Any of them may have to serve the stream behind it.
func (f *Follower) announce(ctx context.Context, n *notice, regions ...string) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		ticker := f.config.Clock.NewTicker(announceEvery)
		defer ticker.Stop()
		for {
			f.tellAll(ctx, n.places(), regions)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C():
			case <-n.news:
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

func (f *Follower) tellAll(ctx context.Context, places []timeline.Position, regions []string) {
	ctx, cancel := context.WithTimeout(ctx, announceEvery)
	defer cancel()
	var asking sync.WaitGroup
	for _, addr := range f.addressesOf(regions) {
		asking.Go(func() {
			for _, p := range places {
				if err := f.config.Copies.Copying(ctx, addr, p); err != nil && ctx.Err() == nil {
					f.config.Logger.Debug("a node of the source may not keep the log behind the copy", "addr", addr,
						"position", p, "err", err)
				}
			}
		})
	}
	asking.Go(func() { f.askMaking(ctx) })
	asking.Wait()
}

// addressesOf returns the addresses of regions, each once.
func (f *Follower) addressesOf(regions []string) (all []string) {
	for _, region := range regions {
		for _, addr := range f.config.Fleet.Addresses(region) {
			if !slices.Contains(all, addr) {
				all = append(all, addr)
			}
		}
	}
	return all
}

// stage has the other voters fetch the copy from this node, and returns when a majority has it (F3). Those that are
// much later than the majority are not waited for: they take the state of a node that has installed it.
func (f *Follower) stage(ctx context.Context, s *session, id string) error {
	defer f.announce(ctx, newNotice(s.at), s.of, s.source)()
	err := f.majority(ctx, id, func(ctx context.Context, voter uint64, addr string) error {
		if voter == f.config.Self {
			return f.config.Copies.Sound(ctx, id)
		}
		return f.config.Copies.Offer(ctx, addr, id, s.term)
	})
	if err != nil {
		return err
	}
	return checkGiver(ctx, f, s.of, id)
}

// majority asks every voter to have a copy, and returns when a majority does. ask is called with each of them that can
// be asked, all at once.
func (f *Follower) majority(
	ctx context.Context, id string, ask func(ctx context.Context, voter uint64, addr string) error,
) error {
	voters := f.config.Group.Voters()
	ctx, cancel := context.WithCancel(ctx)
	offered := f.offer(ctx, voters, ask)
	defer func() {
		cancel()
		for range offered { // ends when nobody is asked any more
		}
	}()
	began := f.config.Clock.Now()
	var late clock.Timer
	have, errs := 0, []error(nil)
	for {
		f.counts(have, len(voters)/2+1)
		var over <-chan time.Time
		if have > len(voters)/2 {
			if late == nil {
				late = f.config.Clock.NewTimer(max(leastPatience, f.config.Clock.Now().Sub(began)/2))
				defer late.Stop()
			}
			over = late.C()
		}
		select {
		case err, more := <-offered:
			switch {
			case !more && have > len(voters)/2:
				return nil
			case !more:
				return fmt.Errorf("%s is on %d of %d nodes: %w", id, have, len(voters), errors.Join(errs...))
			case err != nil:
				errs = append(errs, err)
			default:
				have++
			}
		case <-over:
			f.config.Logger.Info("a majority has the copy; the others get the state later", "copy", id, "nodes", have,
				"of", len(voters))
			return nil
		}
	}
}

// offer asks every voter to have a copy, and tells what came of each. The channel is closed after the last.
func (f *Follower) offer(
	ctx context.Context, voters []uint64, ask func(ctx context.Context, voter uint64, addr string) error,
) <-chan error {
	offered := make(chan error)
	var asking sync.WaitGroup
	for _, voter := range voters {
		addr, known := f.config.Directory.Addr(voter)
		asking.Go(func() {
			if known || voter == f.config.Self {
				offered <- ask(ctx, voter, addr)
			}
		})
	}
	go func() {
		asking.Wait()
		close(offered)
	}()
	return offered
}
