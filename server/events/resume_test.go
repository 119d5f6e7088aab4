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

// away is a filesystem of which nothing can be read, as long as it fails, and on which nothing is durable that is
// written, as long as it is full. Nothing can be removed, as long as it is stuck, and what is written hangs for as long
// as it does.
type away struct {
	durable.FS
	fails, full, stuck atomic.Bool
	hangs              atomic.Pointer[chan struct{}]
}

func (a *away) Remove(name string) error {
	if a.stuck.Load() {
		return syscall.EIO
	}
	return a.FS.Remove(name)
}

func (a *away) Create(name string) (durable.File, error) {
	f, err := a.FS.Create(name)
	return fullFile{f, a}, err
}

func (a *away) OpenReadWrite(name string) (durable.File, error) {
	f, err := a.FS.OpenReadWrite(name)
	return fullFile{f, a}, err
}

type fullFile struct {
	durable.File
	disk *away
}

func (f fullFile) SyncData() error {
	if let := f.disk.hangs.Load(); let != nil {
		<-*let
	}
	if f.disk.full.Load() {
		return syscall.ENOSPC
	}
	return f.File.SyncData()
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

// TestWhatIsInMemoryIsToldUntilItIsWritten: that the directory can be read does not mean that it takes anything.
func TestWhatIsInMemoryIsToldUntilItIsWritten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := newShelf()
		disk := goneAway(t, s)
		l := s.open(t, func(o *Options) { o.FS = disk })
		l.Add(saw("b"))
		l.settle(t)
		before := l.Read(t.Context(), Question{})
		disk.full.Store(true)
		disk.fails.Store(false)
		time.Sleep(2*retryEvery + 1)
		for i := range mostWaiting + 1 { // where they waited there would be no place for the last
			if l.Add(saw("c")); i%1024 == 0 {
				l.settle(t)
			}
		}
		l.settle(t)
		page := l.Read(t.Context(), Question{Most: 1 << 20})
		if page.Log != before.Log || len(page.Events) != mostWaiting || !strings.Contains(page.Problem, "not kept") {
			t.Errorf("of log %s, that was %s, %d events are told: %s", page.Log, before.Log, len(page.Events),
				page.Problem)
		}
		disk.full.Store(false)
		time.Sleep(2 * retryEvery)
		virtual.Wait()
		kept := l.Read(t.Context(), Question{Most: 1 << 20})
		n := len(kept.Events)
		if last := kept.Events[n-1].Text; n != 2+mostWaiting+1 || kept.Problem != "" || last[:9] != "2 events " {
			t.Errorf("%d events are kept, the last is %q: %s", n, last, kept.Problem)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = s.open(t)
		defer l.Close()
		if n := len(l.Read(t.Context(), Question{Most: 1 << 20}).Events); n != len(kept.Events) {
			t.Errorf("the next process tells %d events, not %d", n, len(kept.Events))
		}
	})
}

// TestWhatWasInMemoryIsWrittenAtTheEnd, if the directory can be used by then, and what memory lost is said.
func TestWhatWasInMemoryIsWrittenAtTheEnd(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
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
		defer l.Close()
		list := l.Read(t.Context(), Question{Most: 1 << 20}).Events
		if n := len(list); n != 2+mostWaiting+1 || list[1].Text != "a" || list[2].Text != "b" || list[n-2].Text != "c" {
			t.Fatalf("%d events are told", n)
		}
		if last := list[len(list)-1]; last.Kind != replication.EventGap || !strings.HasPrefix(last.Text, "10 events") {
			t.Errorf("what is missing is told as %+v", last)
		}
	})
}

// hung is a filesystem whose List fails once, and then does not come back until it is let go.
type hung struct {
	durable.FS
	lists atomic.Int32
	let   chan struct{}
}

func (h *hung) List(name string) ([]string, error) {
	if h.lists.Add(1) == 1 {
		return nil, syscall.EIO
	}
	<-h.let
	return h.FS.List(name)
}

// TestADiskThatHangsHoldsNothingUp: what is in memory is told meanwhile, and the log ends.
func TestADiskThatHangsHoldsNothingUp(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := newShelf()
		disk := &hung{FS: s.fs, let: make(chan struct{})}
		l := s.open(t, func(o *Options) { o.FS = disk })
		time.Sleep(2 * retryEvery)
		l.Add(saw("a"))
		virtual.Wait()
		if got := told(l); !slices.Equal(got, []string{"a"}) {
			t.Errorf("while the disk hangs %q is told", got)
		}
		began := time.Now()
		if err := l.Close(); err != nil || time.Since(began) > closeWait {
			t.Errorf("ended after %v: %v", time.Since(began), err)
		}
		close(disk.let)
		virtual.Wait()
	})
}

// TestWhatComesWhileItIsWrittenFollows: the disk may hang as well while it takes what was in memory.
func TestWhatComesWhileItIsWrittenFollows(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := newShelf()
		disk := goneAway(t, s)
		let := make(chan struct{})
		disk.hangs.Store(&let)
		l := s.open(t, func(o *Options) { o.FS = disk })
		l.Add(saw("b"))
		l.settle(t)
		disk.fails.Store(false)
		time.Sleep(retryEvery + 1)
		virtual.Wait()
		l.Add(saw("c"))
		l.settle(t)
		if got := told(l); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("while the disk hangs %q is told", got)
		}
		disk.hangs.Store(nil)
		close(let)
		virtual.Wait()
		for range 2 {
			if got, want := told(l), []string{"epoch/1", "a", "b", "c"}; !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = s.open(t)
		}
		l.Close()
	})
}

// TestWhatWasWrittenAllTheSameIsNotWrittenTwice: who was told that it was not could not remove it either.
func TestWhatWasWrittenAllTheSameIsNotWrittenTwice(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := newShelf()
		disk := goneAway(t, s)
		l := s.open(t, func(o *Options) { o.FS = disk })
		l.Add(saw("b"))
		l.settle(t)
		disk.full.Store(true)
		disk.stuck.Store(true)
		disk.fails.Store(false)
		time.Sleep(retryEvery + 1)
		virtual.Wait()
		disk.full.Store(false)
		disk.stuck.Store(false)
		l.Add(saw("c"))
		time.Sleep(2 * retryEvery)
		virtual.Wait()
		if got, want := told(l), []string{"epoch/1", "a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		l.Close()
	})
}
