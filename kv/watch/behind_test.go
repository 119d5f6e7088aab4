package watch

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// TestAWatchOfAQuietKeyReadsNoMoreThanItsVersions, also from far behind: thousands of them may go on at once.
func TestAWatchOfAQuietKeyReadsNoMoreThanItsVersions(t *testing.T) {
	const most, versions = 10, 5
	s := newStore(t, Limits{QueuedEvents: 4, QueuedBytes: 300, CatchUpBytes: 1 << 20, CatchUpChanges: most})
	for range versions {
		s.apply(Nothing, []string{"a", "b"})
		for range 10 * most {
			s.apply(Nothing, []string{"b", "c"})
		}
	}
	s.apply(Nothing, []string{"b"}, []string{"-a"})
	for start, want := range map[int64]int{mvcc.FirstRevision + 1: versions + 1, mvcc.FirstRevision + 2: versions,
		s.state.Revision: 1, s.state.Revision - 1: 1} {
		w := s.watch(Request{Key: []byte("a"), StartRevision: start})
		batch, err := w.Next(t.Context())
		if err != nil || len(batch.Events) != want || batch.Revision != s.state.Revision {
			t.Errorf("from %d: %d events up to %d, want %d up to %d: %v", start, len(batch.Events), batch.Revision,
				want, s.state.Revision, err)
		}
		w.Close()
	}
	w := s.watch(Request{Key: []byte("d"), StartRevision: mvcc.FirstRevision + 1})
	if err := w.Ready(t.Context()); err != nil || w.Progress() != s.state.Revision {
		t.Errorf("of a key that never was: at %d: %v", w.Progress(), err)
	}
	w.Close()
}

// TestAWatchOfABusyKeyGetsEachEventOnce, however many there are, and in batches of no more than the bytes.
func TestAWatchOfABusyKeyGetsEachEventOnce(t *testing.T) {
	for _, changes := range []int{fewVersions, fewVersions + 1, 3 * fewVersions} {
		s := newStore(t, Limits{QueuedEvents: 4, QueuedBytes: 300, CatchUpBytes: 100})
		for range changes {
			s.apply(Nothing, []string{"a", "b"})
		}
		w := s.watch(Request{Key: []byte("a"), StartRevision: mvcc.FirstRevision + 1, PrevKV: true})
		for next := int64(mvcc.FirstRevision + 1); next <= s.state.Revision; {
			batch, err := w.Next(t.Context())
			if err != nil || len(batch.Events) > 10 {
				t.Fatalf("%d events: %v", len(batch.Events), err)
			}
			for _, e := range batch.Events {
				if e.Kv.ModRevision != next || (e.PrevKv != nil) != (next > mvcc.FirstRevision+1) {
					t.Fatalf("event %v, want that of %d", e, next)
				}
				next++
			}
		}
		w.Close()
	}
}

// waiting is a Disk that waits before it reads, and counts how many do.
type waiting struct {
	Disk
	goOn chan struct{}

	mu        sync.Mutex
	now, most int
}

func (d *waiting) ReadHistory(from, to int64, f func(h *mvcc.History, compact int64) error) error {
	d.mu.Lock()
	d.now++
	d.most = max(d.most, d.now)
	d.mu.Unlock()
	<-d.goOn
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.now--
	}()
	return d.Disk.ReadHistory(from, to, f)
}

// TestFewWatchersReadAtATime: what they read has no end to it, and the others wait, as long as their callers do.
func TestFewWatchersReadAtATime(t *testing.T) {
	s := newStore(t, DefaultLimits)
	s.apply(Nothing, []string{"a"}, []string{"b"})
	d := &waiting{Disk: s, goOn: make(chan struct{})}
	s.hub.disk = d
	ctx, cancel := context.WithCancel(t.Context())
	const watchers = 40
	results := make(chan error, watchers)
	all := make([]*Watcher, watchers)
	for i := range all {
		all[i] = s.watch(Request{Key: []byte("a"), RangeEnd: []byte("c"), StartRevision: mvcc.FirstRevision + 1})
		go func() {
			_, err := all[i].Next(ctx)
			results <- err
		}()
	}
	room := cap(s.hub.reading)
	for range watchers / 2 {
		d.goOn <- struct{}{}
	}
	for range watchers / 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	cancel() // of those that read, and of those that wait
	close(d.goOn)
	for range watchers / 2 {
		if err := <-results; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if d.most > room || room > max(1, runtime.GOMAXPROCS(0)/2) {
		t.Errorf("%d read at a time, and there is room for %d", d.most, room)
	}
	for _, w := range all {
		for w.Progress() < s.state.Revision {
			if _, err := w.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
	}
}

// TestPreviousValuesCountInAQueue: they are held as the others are.
func TestPreviousValuesCountInAQueue(t *testing.T) {
	limits := Limits{QueuedEvents: 4096, QueuedBytes: 2000, CatchUpBytes: 1 << 20, JoinRevisions: 8}
	s := newStore(t, limits)
	large := strings.Repeat("k", 300) // it is in the previous one, too
	w := s.watch(Request{Key: []byte(large), PrevKV: true, NoPut: true})
	defer w.Close()
	for i := range 20 {
		s.apply(EventsWithPrevious, []string{large}, []string{"-" + large})
		held := 0
		for _, e := range w.position.queue {
			held += proto.Size(e)
		}
		if held != w.position.queueBytes || held > limits.QueuedBytes {
			t.Fatalf("%d: %d bytes wait, and %d are counted", i, held, w.position.queueBytes)
		}
	}
	if w.position.synced {
		t.Error("it did not fall behind")
	}
}
