package console

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFull says that as many look as may.
var ErrFull = errors.New("as many people look at the console as may at a time")

// places are those of viewers of a kind, so that who comes from one address does not take all of them.
type places struct {
	most, each int            // at a time, and from one address
	taken      map[string]int // by address; no zeros
	sum        int
}

// take takes a place for somebody from an address, who gives it back.
func (p *places) take(from string) error {
	switch {
	case p.sum >= p.most:
		return fmt.Errorf("%w: %d", ErrFull, p.most)
	case p.taken[from] >= p.each:
		return fmt.Errorf("%w from one address: %d", ErrFull, p.each)
	}
	if p.taken == nil {
		p.taken = map[string]int{}
	}
	p.taken[from]++
	p.sum++
	return nil
}

func (p *places) giveBack(from string) {
	p.sum--
	if p.taken[from]--; p.taken[from] == 0 {
		delete(p.taken, from)
	}
}

// ErrEnded says that the watch is closed.
var ErrEnded = errors.New("the console is closed")

// frame is what viewers are sent of one look, as it is written to each.
type frame []byte

// watch looks at the fleet for all who want to see it, one look at a time, and not at all while nobody does. It is safe
// for concurrent use.
type watch struct {
	look  func(ctx context.Context) frame // never nil
	every time.Duration                   // from the beginning of a look to the next, at least

	mu      sync.Mutex
	viewers map[*viewer]bool
	last    frame
	lastAt  time.Time
	stop    context.CancelFunc // of who looks; nil: nobody does
	done    chan struct{}      // closed when who looks has ended
	ended   bool
}

// viewer is one who sees. Of what he has not taken yet only the newest is kept.
type viewer struct {
	frames chan frame
	in     *places
	from   string
}

func newWatch(look func(context.Context) frame, every time.Duration) *watch {
	return &watch{look: look, every: every, viewers: map[*viewer]bool{}}
}

// join returns somebody who sees every picture from now on, the last one first if others see it too or it is not older
// than a look. He takes one of the places, which are used by w alone, as somebody from an address. Whoever joins
// leaves.
func (w *watch) join(in *places, from string, now time.Time) (*viewer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil, ErrEnded
	}
	if err := in.take(from); err != nil {
		return nil, err
	}
	v := &viewer{make(chan frame, 1), in, from}
	if w.stop == nil && now.Sub(w.lastAt) > w.every {
		w.last = nil // of those who looked before
	}
	if w.last != nil {
		v.frames <- w.last
	}
	w.viewers[v] = true
	if w.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		before, done := w.done, make(chan struct{})
		w.stop, w.done = cancel, done
		go func() {
			defer close(done)
			if before != nil {
				<-before // one look at a time, also of those who came when the last had left
			}
			w.run(ctx)
		}()
	}
	return v, nil
}

// leave is the end of a viewer; when nobody is left the look under way is given up.
func (w *watch) leave(v *viewer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.viewers, v)
	v.in.giveBack(v.from)
	if len(w.viewers) == 0 && w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	next := time.NewTicker(w.every)
	defer next.Stop()
	for ctx.Err() == nil {
		if f := w.look(ctx); ctx.Err() == nil {
			w.show(f, time.Now())
		}
		select {
		case <-next.C:
		case <-ctx.Done():
		}
	}
}

// show gives every viewer a picture, in the place of one that he has not taken.
func (w *watch) show(f frame, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.lastAt = f, now
	for v := range w.viewers {
		select {
		case <-v.frames:
		default:
		}
		v.frames <- f // who puts in holds mu, so that there is room
	}
}

// closeTime bounds how long the end of a watch waits for a look that was given up.
const closeTime = time.Second

// close ends the watch: nobody joins any more, the look under way is given up, and it returns when that is so, or after
// closeTime.
func (w *watch) close() {
	w.mu.Lock()
	w.ended = true
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	done := w.done
	w.mu.Unlock()
	if done == nil {
		return
	}
	late := time.NewTimer(closeTime)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}
