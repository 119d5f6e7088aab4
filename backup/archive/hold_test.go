package archive

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// holds is a history of which somebody holds the log, or nobody.
type holds struct {
	History // nil: what is not below is not called

	mu    sync.Mutex
	by    map[string]bool
	loose int // how often nobody came to hold any more
}

func (h *holds) Hold(name string, _ replication.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by[name] = true
}

func (h *holds) Release(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := len(h.by)
	if delete(h.by, name); was > 0 && len(h.by) == 0 {
		h.loose++
	}
}

// held returns by how many it is held, and how often by nobody.
func (h *holds) held() (by, loose int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.by), h.loose
}

// hanging is a shelf that gives nothing out until it is let go.
type hanging struct {
	*shelf
	free chan struct{}
}

func (s hanging) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	<-s.free
	return s.shelf.Get(ctx, name)
}

// From the first archiver to the last the log is held by one at least: by the one that is over until the next one holds
// it, by way of one that never ran too. One that hangs, and comes back, holds nothing any more, and lets go of nothing
// that is the next one's.
func TestTheLogIsHeldFromOneArchiverToTheNext(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := &holds{by: map[string]bool{}}
		_, l, err := Encode(newStory().reign(1, "us", false).frame("a").segment(0, 2))
		if err != nil {
			t.Fatal(err)
		}
		hung := hanging{newShelf(), make(chan struct{})}
		hung.objects[headName] = []byte(l.Name())
		config := func(former *Archiver) Config {
			return Config{
				Store: newShelf(), History: h, Leads: func() bool { return false }, Interval: time.Second,
				Clock: clock.Real, Logger: quiet, Former: former,
			}
		}
		run := func(c Config) (a *Archiver, end func(), over chan struct{}) {
			a, over = New(c), make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				defer close(over)
				a.Run(ctx)
			}()
			virtual.Wait()
			return a, cancel, over
		}
		wants := func(when string, by int) {
			t.Helper()
			virtual.Wait()
			if got, loose := h.held(); got != by || loose > 0 {
				t.Errorf("%s: held by %d, want %d, and by nobody %d times", when, got, by, loose)
			}
		}
		first, end, over := run(config(nil))
		wants("the first runs", 1)
		end()
		<-over
		wants("the first is over", 1)
		skipped := New(config(first))
		c := config(skipped)
		c.Store = hung
		second, end, over := run(c)
		wants("the second runs", 1)
		end()
		wants("the second is to end, and hangs", 1)
		third, endThird, overThird := run(config(second))
		wants("the third runs beside it", 1)
		close(hung.free)
		<-over
		wants("the second came back", 1)
		if !h.by[third.name] {
			t.Errorf("the log is held for %v", h.by)
		}
		third.Release()
		endThird()
		<-overThird
		virtual.Wait()
		if got, loose := h.held(); got != 0 || loose != 1 {
			t.Errorf("nobody follows: held by %d, by nobody %d times", got, loose)
		}
	})
}
