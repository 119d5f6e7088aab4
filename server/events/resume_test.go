package events

import (
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
)

// away is a filesystem of which nothing can be read, as long as it fails.
type away struct {
	durable.FS
	fails atomic.Bool
}

func (a *away) Open(name string) (durable.File, error) {
	if a.fails.Load() {
		return nil, syscall.EMFILE
	}
	return a.FS.Open(name)
}

// goneAway has a shelf hold what is decided, and what the node saw, and returns its disk, which fails.
func goneAway(t *testing.T, s *shelf) *away {
	t.Helper()
	l := s.open(t)
	l.Add(decided("epoch/1"))
	l.Add(saw("a"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	disk := &away{FS: s.fs}
	disk.fails.Store(true)
	return disk
}

// TestEventsAreKeptOnceTheirDirectoryCanBeUsed: what could not be read at the start is told then, and what came in
// between follows it.
func TestEventsAreKeptOnceTheirDirectoryCanBeUsed(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := newShelf()
		disk := goneAway(t, s)
		l := s.open(t, func(o *Options) { o.FS = disk })
		l.Add(decided("epoch/1")) // the history tells it again
		l.Add(saw("b"))
		l.settle(t)
		before := l.Read(t.Context(), Question{})
		if len(before.Events) != 2 || !strings.Contains(before.Problem, "tried again every 5s") {
			t.Fatalf("%+v", before)
		}
		seen := before.Events[1].At
		waited := make(chan Page, 1)
		go func() {
			waited <- l.Read(t.Context(), Question{Log: before.Log, After: before.Last, Wait: time.Hour})
		}()
		virtual.Wait()
		s.now = s.now.Add(time.Hour)
		disk.fails.Store(false)
		time.Sleep(2 * retryEvery)
		virtual.Wait()
		page := l.Read(t.Context(), Question{})
		if got, want := told(l), []string{"epoch/1", "a", "b"}; !slices.Equal(got, want) || page.Problem != "" {
			t.Fatalf("told %q, want %q; %s", got, want, page.Problem)
		}
		if b := page.Events[2]; b.Seq != 3 || !b.At.Equal(seen) {
			t.Errorf("what came in between is %+v, of %v", b, seen)
		}
		if got := <-waited; got.Log != page.Log || got.Log == before.Log || len(got.Events) < 2 {
			t.Errorf("who waited is told %+v", got)
		}
		l.Add(saw("c"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = s.open(t)
		if got, want := told(l), []string{"epoch/1", "a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("the next process tells %q, want %q", got, want)
		}
		if log := l.Read(t.Context(), Question{}).Log; log != page.Log {
			t.Errorf("it is log %s, and was %s", log, page.Log)
		}
		l.Close()
	})
}

// TestWhatWasInMemoryIsWrittenAtTheEnd, if the directory can be used by then, and what memory lost is said.
func TestWhatWasInMemoryIsWrittenAtTheEnd(t *testing.T) {
	s := newShelf()
	disk := goneAway(t, s)
	l := s.open(t, func(o *Options) { o.FS = disk })
	for range mostWaiting - 1 {
		l.Add(saw("b"))
	}
	l.settle(t)
	for range 11 {
		l.Add(saw("c"))
	}
	l.settle(t)
	disk.fails.Store(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = s.open(t)
	list := l.Read(t.Context(), Question{Most: 1 << 20}).Events
	if n := len(list); n != 2+mostWaiting+1 || list[1].Text != "a" || list[2].Text != "b" || list[n-2].Text != "c" {
		t.Fatalf("%d events are told", n)
	}
	if last := list[len(list)-1]; last.Kind != replication.EventGap || !strings.HasPrefix(last.Text, "10 events") {
		t.Errorf("what is missing is told as %+v", last)
	}
}
