package kv

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// After a step that failed the next one waits for that long, and each time for twice as long, up to the most: occasions
// to look come with every commit, and a disk that is broken is not asked as often.
const (
	firstChorePause = 100 * time.Millisecond
	mostChorePause  = 10 * time.Second
)

// chore is work in the background, in bounded steps. It may stop anywhere and go on after a restart.
type chore struct {
	clock  clock.Clock
	step   func(ctx context.Context) (more bool, err error)
	failed string // what to log
	logger *slog.Logger
	wake   chan struct{}
	hurry  chan struct{}   // somebody waits: a pause ends
	quit   context.Context // over when it is stopped
	stop   func()          // ends the step under way too
	done   sync.WaitGroup

	asked atomic.Uint64 // occasions to look
	last  atomic.Pointer[outcome]
}

// outcome is how an occasion to look ended, and all before it.
type outcome struct {
	served uint64
	err    error         // why not all was done that was to be done
	next   chan struct{} // closed when there is another outcome
}

func startChore(
	clock clock.Clock, logger *slog.Logger, failed string,
	step func(ctx context.Context) (more bool, err error),
) *chore {
	c := &chore{
		clock: clock, step: step, failed: failed, logger: logger, wake: make(chan struct{}, 1),
		hurry: make(chan struct{}, 1),
	}
	c.last.Store(&outcome{next: make(chan struct{})})
	var end context.CancelFunc
	c.quit, end = context.WithCancel(context.Background())
	c.stop = func() {
		end()
		c.done.Wait()
	}
	c.wakeUp()
	c.done.Go(c.loop)
	return c
}

// busy reports whether there may be something to do that was not tried.
func (c *chore) busy() bool { return c.asked.Load() != c.last.Load().served }

// finish has all done that is to be done at the call, without a pause, and waits for it. It returns why that could not
// be.
func (c *chore) finish(ctx context.Context) error {
	asked := c.wakeUp()
	select {
	case c.hurry <- struct{}{}:
	default:
	}
	for {
		last := c.last.Load()
		if last.served >= asked {
			return last.err
		}
		select {
		case <-last.next:
		case <-c.quit.Done():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wakeUp is an occasion to look, and returns which one.
func (c *chore) wakeUp() uint64 {
	asked := c.asked.Add(1)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return asked
}

func (c *chore) loop() {
	for pause := time.Duration(0); ; {
		select {
		case <-c.quit.Done():
			return
		case <-c.wake:
		}
		now := &outcome{served: c.asked.Load(), next: make(chan struct{})}
		err := c.run()
		if c.quit.Err() != nil {
			return
		}
		if err != nil {
			// What was to be done stays to be done. The next occasion or restart tries again.
			now.err = fmt.Errorf("kv: %s: %w", c.failed, asDamage(err))
			if last := c.last.Load().err; last == nil || last.Error() != now.err.Error() {
				c.logger.Error(c.failed, "err", err)
			}
		}
		close(c.last.Swap(now).next)
		if err == nil {
			pause = 0
			continue
		}
		pause = min(max(2*pause, firstChorePause), mostChorePause)
		c.rest(pause)
	}
}

// rest waits for a while, but not longer than nobody waits for the chore.
func (c *chore) rest(pause time.Duration) {
	timer := c.clock.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-c.hurry:
	case <-c.quit.Done():
	}
}

// run does steps until nothing is left, one fails, or the chore is stopped.
func (c *chore) run() (err error) {
	for more := true; more && err == nil && c.quit.Err() == nil; {
		more, err = c.step(c.quit)
	}
	return err
}
