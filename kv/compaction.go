package kv

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// compactionStep is how many changes one step of the physical compaction takes.
const compactionStep = 2048

// compactor removes, in the background and in bounded steps, the versions that a compaction put out of reach. It may
// stop anywhere and go on after a restart.
type compactor struct {
	current *current
	logger  *slog.Logger
	wake    chan struct{}
	quit    chan struct{}
	done    sync.WaitGroup

	asked, served atomic.Uint64                 // occasions to look
	told          atomic.Pointer[chan struct{}] // closed when served has changed
}

func startCompactor(c *current, logger *slog.Logger) *compactor {
	k := &compactor{current: c, logger: logger, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	k.told.Store(new(make(chan struct{})))
	k.wakeUp()
	k.done.Go(k.loop)
	return k
}

// busy reports whether there may be versions to remove.
func (c *compactor) busy() bool { return c.asked.Load() != c.served.Load() }

// idle waits until there are none.
func (c *compactor) idle(ctx context.Context) error {
	for {
		told := *c.told.Load()
		if !c.busy() {
			return nil
		}
		select {
		case <-told:
		case <-c.quit:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *compactor) wakeUp() {
	c.asked.Add(1)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *compactor) stop() {
	close(c.quit)
	c.done.Wait()
}

func (c *compactor) loop() {
	for {
		select {
		case <-c.quit:
			return
		case <-c.wake:
		}
		asked := c.asked.Load()
		for more := true; more; {
			select {
			case <-c.quit:
				return
			default:
			}
			var err error
			if more, err = c.step(); err != nil {
				// The versions stay, out of reach. The next compaction or restart tries again.
				c.logger.Error("old versions cannot be removed", "err", err)
				break
			}
		}
		c.served.Store(asked)
		close(*c.told.Swap(new(make(chan struct{}))))
	}
}

// step removes what the next compactionStep changes superseded.
func (c *compactor) step() (more bool, err error) {
	g, err := c.current.acquire()
	if err != nil {
		return false, nil // closed
	}
	defer g.release()
	compact := g.now.Load().Compact
	if compact <= 0 {
		return false, nil
	}
	batch := g.db.NewBatch()
	more, err = mvcc.RemoveSuperseded(g.db, batch, compact, compactionStep)
	if err == nil && !batch.Empty() {
		err = batch.Commit(pebble.NoSync)
	}
	return more, cmp.Or(err, batch.Close())
}
