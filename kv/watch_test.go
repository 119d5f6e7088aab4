package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
)

func (n *node) watch(r watch.Request) *watch.Watcher {
	n.t.Helper()
	w, err := n.Watch(r)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(w.Close)
	return w
}

// next returns the next batch, or the error that ended the watcher.
func next(t testing.TB, w *watch.Watcher) (watch.Batch, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := w.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("no event in time")
	}
	return b, err
}

// collect returns the events up to a revision.
func collect(t testing.TB, w *watch.Watcher, upTo int64) (events []*mvccpb.Event) {
	t.Helper()
	for last := int64(0); last < upTo; {
		b, err := next(t, w)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(b.Events); n == 0 || b.Events[0].Kv.ModRevision <= last ||
			b.Revision < b.Events[n-1].Kv.ModRevision {
			t.Fatalf("batch of %d events up to %d after %d", len(b.Events), b.Revision, last)
		}
		events = append(events, b.Events...)
		last = b.Revision
	}
	return events
}

func sameEvents(t testing.TB, what string, got, want []*mvccpb.Event) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !proto.Equal(got[i], want[i]) {
			one := func(all []*mvccpb.Event) []*mvccpb.Event { return all[min(i, len(all)):min(i+1, len(all))] }
			t.Fatalf("%s: %d events, want %d; first difference at %d:\n got %v\nwant %v",
				what, len(got), len(want), i, one(got), one(want))
		}
	}
}

func TestWatchFromNowAndFromThePast(t *testing.T) {
	n, m := newNode(t), newModel()
	do := func(qs ...any) {
		var commands [][]byte
		for _, q := range qs {
			m.apply(q)
			commands = append(commands, encodeRequest(q))
		}
		n.apply(commands...)
	}
	key := func(s string) []byte { return []byte(s) }
	do(&pb.PutRequest{Key: key("a"), Value: key("1")}, &pb.PutRequest{Key: key("b"), Value: key("2")})
	now := n.watch(watch.Request{Key: key("a"), RangeEnd: key("c"), PrevKV: true})
	past := n.watch(watch.Request{Key: key("a"), RangeEnd: key("\x00"), StartRevision: 2, PrevKV: true})
	one := n.watch(watch.Request{Key: key("b")})
	deletes := n.watch(watch.Request{Key: key("a"), RangeEnd: key("\x00"), NoPut: true, StartRevision: 1})
	future := n.watch(watch.Request{Key: key("a"), RangeEnd: key("\x00"), StartRevision: 5})
	expect(t, "created", now.Created(), 3)
	do(&pb.PutRequest{Key: key("a"), Value: key("3")}, &pb.DeleteRangeRequest{Key: key("a"), RangeEnd: key("c")},
		&pb.PutRequest{Key: key("d")})
	sameEvents(t, "from now", collect(t, now, 5), m.events(4, key("a"), key("c"), true))
	sameEvents(t, "from the past", collect(t, past, 6), m.events(2, key("a"), key("\x00"), true))
	sameEvents(t, "one key", collect(t, one, 5), m.events(4, key("b"), nil, false))
	sameEvents(t, "future", collect(t, future, 6), m.events(5, key("a"), key("\x00"), false))
	got := collect(t, deletes, 5)
	expect(t, "deletes only", len(got), 2)
	expect(t, "progress of an idle watcher", one.Progress(), 6)
}

func TestWatchCompacted(t *testing.T) {
	n := newNode(t)
	n.apply(put("a", "1"), put("a", "2"), del("a", ""), put("a", "3"), compact(4))
	var compacted *watch.CompactedError
	w := n.watch(watch.Request{Key: []byte("a"), StartRevision: 3})
	if _, err := next(t, w); !errors.As(err, &compacted) || compacted.Revision != 4 {
		t.Fatalf("below the compaction: %v", err)
	}
	for range 2 { // before and after old versions are removed
		w := n.watch(watch.Request{Key: []byte("a"), StartRevision: 4, PrevKV: true})
		events := collect(t, w, 5)
		expect(t, "events from the compaction revision on", len(events), 2)
		expect(t, "the delete at it", events[0].Type, mvccpb.Event_DELETE)
		expect(t, "has no previous value", events[0].PrevKv, nil)
		if err := n.compactor.finish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWatchAcrossLossyReign(t *testing.T) {
	n := newNode(t)
	key := []byte("a")
	n.apply(put("a", "1"), put("a", "2"))
	live := n.watch(watch.Request{Key: key})
	behind := n.watch(watch.Request{Key: key, StartRevision: 2})
	waiting := n.watch(watch.Request{Key: key, StartRevision: 9}) // saw 8 at the deposed primary
	n.begin(true)
	base := int64(3 + mvcc.LossyJump)
	expect(t, "revision", n.Revision(), base)
	n.apply(put("a", "3"))
	expect(t, "live goes on", collect(t, live, base+1)[0].Kv.ModRevision, base+1)
	expect(t, "behind sees all", len(collect(t, behind, base+1)), 3)
	for what, w := range map[string]*watch.Watcher{
		"waiting":  waiting,
		"resuming": n.watch(watch.Request{Key: key, StartRevision: 4}),
		"inside":   n.watch(watch.Request{Key: key, StartRevision: base - 1}),
	} {
		var compacted *watch.CompactedError
		if _, err := next(t, w); !errors.As(err, &compacted) || compacted.Revision != base {
			t.Errorf("%s: %v", what, err)
		}
	}
	fresh := n.watch(watch.Request{Key: key, StartRevision: base})
	expect(t, "from the base", collect(t, fresh, base+1)[0].Kv.ModRevision, base+1)
	expect(t, "read before the gap", n.get("a", 3), "2 c2 m3 v2")
	expect(t, "read in the gap", n.get("a", 4), command.ErrCompacted.Error())
	expect(t, "read at the base", n.get("a", base), "2 c2 m3 v2")
}

// TestACompactionInsideAGap tells whoever comes too late of a revision that can be read.
func TestACompactionInsideAGap(t *testing.T) {
	n := newNode(t)
	key := []byte("a")
	n.apply(put("a", "1"), put("a", "2"))
	n.begin(true)
	base := n.Revision()
	n.apply(put("a", "3"), compact(base-5))
	var compacted *watch.CompactedError
	w := n.watch(watch.Request{Key: key, StartRevision: 2})
	if _, err := next(t, w); !errors.As(err, &compacted) || compacted.Revision != base {
		t.Errorf("told %v, want %d", err, base)
	}
	expect(t, "read there", n.get("a", base), "2 c2 m3 v2")
}

// TestWatchersSeeEverythingOnce runs watchers of all speeds beside an applier and a compactor that stays behind them
// (invariant 11).
func TestWatchersSeeEverythingOnce(t *testing.T) {
	n, m := newNode(t), newModel()
	const batches, watchers = 120, 20
	limits := watch.Limits{QueuedEvents: 100, QueuedBytes: 64 << 10, CatchUpBytes: 16 << 10, JoinRevisions: 200}
	n.watchers = watch.NewHub(&n.current, n.now().State, limits)
	random := rand.New(rand.NewPCG(1, 2))
	var wg sync.WaitGroup
	type seen struct {
		start    int64
		key, end []byte
		previous bool
		events   []*mvccpb.Event
	}
	all := make([]*seen, 0, watchers)
	last := make(chan int64)
	final := int64(0)
	start := func(i int) {
		s := &seen{key: []byte(fmt.Sprint("k", random.IntN(20))), previous: i%3 == 0}
		if i%2 == 0 {
			s.end = []byte(fmt.Sprint("k", random.IntN(20)))
			if string(s.end) <= string(s.key) {
				s.end = []byte{0}
			}
		}
		request := watch.Request{Key: s.key, RangeEnd: s.end, PrevKV: s.previous}
		s.start = m.revision + 1
		if i%4 < 2 {
			request.StartRevision = 1 + random.Int64N(m.revision)
			s.start = request.StartRevision
		}
		w := n.watch(request)
		all = append(all, s)
		slow := time.Duration(0)
		if i%5 == 0 {
			slow = time.Millisecond
		}
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-last
				for w.Progress() < final && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			for {
				b, err := w.Next(ctx)
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				s.events = append(s.events, b.Events...)
				time.Sleep(slow)
			}
		})
	}
	for i := range batches {
		if i%(batches/watchers) == 0 {
			start(i * watchers / batches)
		}
		var commands [][]byte
		for range 1 + random.IntN(60) {
			var q any = &pb.PutRequest{
				Key: []byte(fmt.Sprint("k", random.IntN(20))), Value: make([]byte, random.IntN(4000)),
			}
			if random.IntN(9) == 0 {
				q = &pb.DeleteRangeRequest{Key: []byte(fmt.Sprint("k", random.IntN(20))), RangeEnd: []byte("k4")}
			}
			m.apply(q)
			commands = append(commands, encodeRequest(q))
		}
		n.apply(commands...)
	}
	final = m.revision
	close(last)
	wg.Wait()
	for i, s := range all {
		sameEvents(t, fmt.Sprint("watcher ", i), s.events, m.events(s.start, s.key, s.end, s.previous))
	}
}

func TestClosedWatcher(t *testing.T) {
	n := newNode(t)
	w := n.watch(watch.Request{Key: []byte("a")})
	w.Close()
	w.Close()
	if _, err := next(t, w); !errors.Is(err, watch.ErrClosed) {
		t.Errorf("closed watcher: %v", err)
	}
	w = n.watch(watch.Request{Key: []byte("a")})
	done := make(chan error)
	go func() {
		_, err := w.Next(context.Background())
		done <- err
	}()
	n.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("watcher of a closed store: %v", err)
	}
	if _, err := n.Watch(watch.Request{Key: []byte("a")}); !errors.Is(err, ErrClosed) {
		t.Errorf("watch at a closed store: %v", err)
	}
}
