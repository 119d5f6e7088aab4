package kv

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// chore is work in the background, in bounded steps. It may stop anywhere and go on after a restart.
type chore struct {
	step   func() (more bool, err error)
	failed string // what to log
	logger *slog.Logger
	wake   chan struct{}
	quit   chan struct{}
	done   sync.WaitGroup

	asked, served atomic.Uint64                 // occasions to look
	told          atomic.Pointer[chan struct{}] // closed when served has changed
}

func startChore(logger *slog.Logger, failed string, step func() (more bool, err error)) *chore {
	c := &chore{
		step: step, failed: failed, logger: logger, wake: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	c.told.Store(new(make(chan struct{})))
	c.wakeUp()
	c.done.Go(c.loop)
	return c
}

// busy reports whether there may be something to do.
func (c *chore) busy() bool { return c.asked.Load() != c.served.Load() }

// idle waits until there is nothing.
func (c *chore) idle(ctx context.Context) error {
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

func (c *chore) wakeUp() {
	c.asked.Add(1)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *chore) stop() {
	close(c.quit)
	c.done.Wait()
}

func (c *chore) loop() {
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
				// What was to be done stays to be done. The next occasion or restart tries again.
				c.logger.Error(c.failed, "err", err)
				break
			}
		}
		c.served.Store(asked)
		close(*c.told.Swap(new(make(chan struct{}))))
	}
}
