package archive

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// holds is a history of which somebody holds the log, or nobody.
type holds struct {
	History // nil: what is not below is not called

	here timeline.Origin

	mu    sync.Mutex
	none  error // why nobody knows what is here
	by    map[string]bool
	from  replication.Position // where it was held from last
	loose int                  // how often nobody came to hold any more
}

func (h *holds) Now() (timeline.Origin, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.here, h.none
}

func (h *holds) Hold(name string, p replication.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by[name], h.from = true, p
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

// Where two regions archive to one place after a forced failover, whoever stands by lets no log go for how far the
// other history came: only his own is what he goes on with.
func TestAnotherHistoryFreesNoLog(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		given := newStory().reign(1, "us", false).frame("a", "b").frame("c", "d", "e", "f", "g", "h")
		own := newStory().reign(1, "us", false).frame("a", "b").reign(2, "eu", true).frame("C", "D")
		own.frame(slices.Repeat([]string{"E"}, 20)...)
		h, s := &holds{by: map[string]bool{}, here: own.Origin}, newShelf()
		head := func(one *Segment) {
			l := s.keep(t, one)[0]
			if err := s.Put(t.Context(), headName, strings.NewReader(l.Name())); err != nil {
				t.Fatal(err)
			}
		}
		head(given.segment(0, 2))
		a := New(Config{
			Store: s, History: h, Leads: func() bool { return false }, Interval: time.Second, Clock: clock.Real,
			Logger: quiet,
		})
		ctx, end := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			a.Run(ctx)
		}()
		held := func(when string, want replication.Position) {
			t.Helper()
			time.Sleep(2 * standInterval) // of the bubble
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.from != want {
				t.Errorf("%s: the log is held from position %d, want %d", when, h.from, want)
			}
		}
		held("what both have is archived", 2)
		head(given.segment(0, 3))
		held("what was given up is archived further", 2)
		head(own.segment(0, 4))
		held("its own is", 4)
		anew := newStory().reign(2, "eu", false).frame(slices.Repeat([]string{"F"}, 20)...)
		head(anew.segment(0, 2))
		held("what a node is that formed its region anew", 4)
		h.mu.Lock()
		h.none = replication.ErrHistoryRefused
		h.mu.Unlock()
		head(own.segment(0, 5))
		held("it is not known which history is here", 4)
		end()
		<-over
	})
}
