package region

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// Room waits for room on the disk, for what has to be there before the next entry is applied.
type Room interface {
	// Await waits a moment, and reports whether to try again what failed with err, an error that is durable.Full.
	Await(err error) bool
	// Found says that something was written.
	Found()
}

// patient is who waits for room, once the node has its state: whoever starts it is told at once that there is none.
type patient struct {
	room     Room // nil: nobody waits
	loaded   bool
	shortage atomic.Pointer[shortage] // the one that lasts, or the next one
}

// shortage is a time without room.
type shortage struct {
	begun chan struct{} // is closed when it has
	err   error         // of the disk, once it has begun
}

func (p *patient) init(r Room) {
	p.room = r
	p.shortage.Store(&shortage{begun: make(chan struct{})})
}

// through does what may be done over and over, until there is room for it. The turn is kept meanwhile: what waits may
// be half done, and nobody is to see that.
func (p *patient) through(do func() error) error {
	for short := false; ; {
		err := do()
		switch {
		case p.room == nil || !p.loaded:
			return err
		case err == nil:
			p.room.Found()
			return nil
		case !durable.Full(err):
			return err
		}
		if s := p.shortage.Load(); !short {
			short, s.err = true, err
			close(s.begun)
			defer p.shortage.Store(&shortage{begun: make(chan struct{})})
		}
		if !p.room.Await(err) {
			return err
		}
	}
}

func (s *shortage) error() error { return fmt.Errorf("what comes next waits for room: %w", s.err) }

// enter waits for the turn; not while its holder waits for room, which may be for ever, and whoever takes hold of the
// state needs some as well. Errors: that of the disk; that of ctx.
func (p *patient) enter(ctx context.Context, t turn) error {
	s := p.shortage.Load()
	select {
	case <-s.begun:
		return s.error()
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-s.begun:
		return s.error()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// turnTime is how long whoever is waited for waits for the turn himself.
const turnTime = time.Minute

// enterWithin is enter of who does not wait for the state of another node that is on its way. Errors, besides:
// ErrNotReady, after turnTime.
func (p *patient) enterWithin(ctx context.Context, t turn) error {
	waiting, cancel := context.WithTimeoutCause(ctx, turnTime, fmt.Errorf("%w: the node waits for the state of "+
		"another one already, or puts one in its place", contract.ErrNotReady))
	defer cancel()
	return p.enter(waiting, t)
}
