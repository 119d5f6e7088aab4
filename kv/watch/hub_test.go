package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// store is a stand-in for the store: versions on disk, and a list of all changes.
type store struct {
	t     testing.TB
	db    *pebble.DB
	hub   *Hub
	state *mvcc.State
	all   []Change
}

func newStore(t testing.TB, limits Limits) *store {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{
		FS: vfs.NewMem(), Comparer: mvcc.Comparer, FormatMajorVersion: pebble.FormatNewest, DisableWAL: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &store{t: t, db: db}
	if s.state, err = mvcc.LoadState(db); err != nil {
		t.Fatal(err)
	}
	s.hub = NewHub(s, s.state, limits)
	return s
}

// ReadHistory implements Disk.
func (s *store) ReadHistory(from, to int64, f func(h *mvcc.History, compact int64) error) error {
	h, err := mvcc.OpenHistory(s.db, from, to)
	if err != nil {
		return err
	}
	return errors.Join(f(h, s.state.Compact), h.Close())
}

// last returns the newest version of key.
func (s *store) last(key string) (v mvcc.Version) {
	for _, c := range s.all {
		if string(c.Key) == key {
			v = c.Now
		}
	}
	return v
}

// apply publishes revisions, each of which puts some keys or, after a dash, deletes them, as one batch that gathered
// what level says.
func (s *store) apply(level Level, revisions ...[]string) {
	s.t.Helper()
	next := *s.state
	written := Written{Level: level}
	b := s.db.NewBatch()
	w := mvcc.NewWriter(b)
	for _, keys := range revisions {
		next.Revision++
		for sub, key := range keys {
			kind := mvcc.KindPut
			if key[0] == '-' {
				key, kind = key[1:], mvcc.KindDelete
			}
			prev := s.last(key)
			at := mvcc.Stamp{Main: next.Revision, Sub: uint32(sub)}
			c := Change{Key: []byte(key), Now: mvcc.Version{Stamp: at, Kind: kind}}
			if kind == mvcc.KindPut {
				c.Now.Create, c.Now.Number, c.Now.Value = next.Revision, 1, fmt.Append(nil, "value ", next.Revision)
			}
			if prev.Exists() {
				c.Prev = prev.KeyValue(c.Key)
			}
			s.all = append(s.all, c)
			if err := w.Version(c.Key, &c.Now); err != nil {
				s.t.Fatal(err)
			}
			if level < EventsWithPrevious {
				c.Prev = nil
			}
			if level > Nothing {
				written.Changes = append(written.Changes, c)
			}
		}
	}
	s.publish(&next, written, b)
}

func (s *store) publish(next *mvcc.State, written Written, b *pebble.Batch) {
	s.t.Helper()
	s.hub.Publish(next, written, func() {
		if err := errors.Join(b.Commit(pebble.NoSync), b.Close()); err != nil {
			s.t.Fatal(err)
		}
		s.state = next
	})
	s.valid()
}

func (s *store) valid() {
	s.t.Helper()
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if err := s.hub.valid(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) watch(r Request) *Watcher {
	s.t.Helper()
	w, err := s.hub.Watch(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.valid()
	return w
}

// seen is a watcher and what it has yielded, the stretch that it is reading included.
type seen struct {
	*Watcher
	from    int64
	reading *diskRead
	events  []string
}

func render(e *mvccpb.Event) string {
	return fmt.Sprintf("%v %q %q at %d after %q", e.Type, e.Kv.Key, e.Kv.Value, e.Kv.ModRevision, e.PrevKv.GetValue())
}

// step makes half of what Next does, so that others come between. It returns false if the watcher waits.
func (w *seen) step(t testing.TB) bool {
	t.Helper()
	if w.reading != nil {
		err := w.catchUp(t.Context(), w.reading)
		if w.reading = nil; err != nil {
			t.Fatal(err)
		}
		return true
	}
	batch, err := w.Take()
	if err != nil {
		t.Fatal(err)
	}
	if len(batch.Events) > 0 {
		w.record(batch)
		return true
	}
	var ready bool
	if ready, w.reading = w.look(); ready {
		t.Fatal("nothing is taken although something waits")
	}
	return w.reading != nil
}

func (w *seen) record(batch Batch) {
	for _, e := range batch.Events {
		w.events = append(w.events, render(e))
	}
}

// align brings watchers to one revision, if they can be, and checks that this is true of each.
func (s *store) align(all []*seen) {
	s.t.Helper()
	var watchers []*Watcher
	can := true
	for _, w := range all {
		watchers = append(watchers, w.Watcher)
		can = can && w.reading == nil && w.request.StartRevision <= s.state.Revision
	}
	batches, revision, ok := s.hub.Align(watchers)
	switch {
	case !ok:
		return
	case !can || revision != s.state.Revision:
		s.t.Fatalf("aligned at %d of %d, although one reads from disk or begins later: %t", revision, s.state.Revision,
			!can)
	}
	for i, w := range all {
		for _, b := range batches[i] {
			w.record(b)
		}
		if got, want := fmt.Sprintf("%q", w.events), fmt.Sprintf("%q", s.wanted(w)); got != want {
			s.t.Fatalf("aligned at %d:\n got %s\nwant %s", revision, got, want)
		}
	}
}

// wanted is what a watcher has to yield.
func (s *store) wanted(w *seen) (events []string) {
	for _, c := range s.all {
		if c.Now.Main < w.from || !w.span.Contains(c.Key) || !w.request.wants(c.Now.Kind) {
			continue
		}
		e := newEvent(c.Now.Kind, c.Now.KeyValue(c.Key), nil)
		if w.request.PrevKV {
			e.PrevKv = c.Prev
		}
		events = append(events, render(e))
	}
	return events
}

// TestEachEventOnce lets watchers take, read from disk and be published to in every order, and checks W1 to W5 after
// each step and invariant 11 at the end.
func TestEachEventOnce(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := newStore(t, Limits{QueuedEvents: 4, QueuedBytes: 300, CatchUpBytes: 60, CatchUpChanges: 5,
			JoinRevisions: 3})
		key := func() string { return string(rune('a' + random.IntN(5))) }
		var all []*seen
		for range 250 {
			switch random.IntN(6) {
			case 0:
				var revisions [][]string
				for range 1 + random.IntN(3) {
					one := []string{key()}
					if other := key(); other != one[0] {
						one = append(one, other)
					}
					if random.IntN(3) == 0 {
						one[0] = "-" + one[0]
					}
					revisions = append(revisions, one)
				}
				// A watcher may come while a batch is under way, which then gathered less than is wanted.
				s.apply(Level(random.IntN(int(s.hub.Wanted())+1)), revisions...)
			case 1:
				if len(all) == 12 {
					continue
				}
				r := Request{Key: []byte(key()), PrevKV: random.IntN(3) == 0}
				r.NoPut, r.NoDelete = random.IntN(6) == 0, random.IntN(6) == 0
				if random.IntN(2) == 0 {
					r.RangeEnd = []byte{0}
				}
				from := s.state.Revision + 1
				if random.IntN(2) == 0 {
					r.StartRevision = 1 + random.Int64N(s.state.Revision+5)
					from = r.StartRevision
				}
				all = append(all, &seen{Watcher: s.watch(r), from: from})
			case 2:
				if random.IntN(10) == 0 {
					s.hub.Replace(s.state, func() {})
				} else if len(all) > 0 {
					from := random.IntN(len(all))
					s.align(all[from : from+1+random.IntN(len(all)-from)])
				}
			default:
				if len(all) > 0 {
					all[random.IntN(len(all))].step(t)
				}
			}
			s.valid()
		}
		for i, w := range all {
			for w.step(t) {
				s.valid()
			}
			got, want := fmt.Sprintf("%q", w.events), fmt.Sprintf("%q", s.wanted(w))
			if got != want {
				t.Fatalf("seed %d, watcher %d from %d:\n got %s\nwant %s", seed, i, w.from, got, want)
			}
			if w.Progress() != s.state.Revision {
				t.Errorf("seed %d, watcher %d is at %d of %d", seed, i, w.Progress(), s.state.Revision)
			}
			w.Close()
			s.valid()
		}
		if n, slow := s.hub.Count(); n != 0 || slow != 0 || s.hub.Wanted() != Nothing {
			t.Errorf("%d watchers, %d slow, level %d after all were closed", n, slow, s.hub.Wanted())
		}
	}
}

// TestEnds ends watchers in every way.
func TestEnds(t *testing.T) {
	s := newStore(t, DefaultLimits)
	s.apply(Nothing, []string{"a"}, []string{"a"}, []string{"a"}) // revisions 2 to 4
	request := func(start int64) Request { return Request{Key: []byte("a"), StartRevision: start} }
	behind, waiting, queued := s.watch(request(2)), s.watch(request(9)), s.watch(request(0))
	s.apply(Events, []string{"a"})
	compacted, err := s.state.Compacted(4)
	if err != nil {
		t.Fatal(err)
	}
	s.publish(compacted, Written{}, s.db.NewBatch())
	var from *CompactedError
	for what, w := range map[string]*Watcher{"behind": behind, "too late": s.watch(request(3))} {
		_, err := w.Next(t.Context())
		if !errors.As(err, &from) || from.Revision != 4 || !errors.Is(err, command.ErrCompacted) {
			t.Errorf("%s the compaction: %v", what, err)
		}
	}
	if b, err := queued.Next(t.Context()); err != nil || b.Revision != 5 {
		t.Errorf("what waits in memory: %+v, %v", b, err)
	}
	jumped, err := s.state.Jumped(mvcc.Jump{})
	if err != nil {
		t.Fatal(err)
	}
	s.publish(jumped, Written{Level: EventsWithPrevious}, s.db.NewBatch())
	if _, err := waiting.Next(t.Context()); !errors.As(err, &from) || from.Revision != s.state.Revision {
		t.Errorf("waiting inside a gap: %v", err)
	}
	s.hub.Replace(compacted, func() {})
	s.valid()
	if _, err := queued.Next(t.Context()); !errors.As(err, &from) || from.Revision != 4 {
		t.Errorf("after a jump was taken back: %v", err)
	}
	closed, left := s.watch(request(0)), s.watch(request(0))
	closed.Close()
	closed.Close()
	if _, err := closed.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	gone := errors.New("the store is closed")
	s.hub.Close(gone)
	s.valid()
	if _, err := left.Next(t.Context()); !errors.Is(err, gone) {
		t.Errorf("left: %v", err)
	}
	if _, err := s.hub.Watch(request(0)); !errors.Is(err, gone) {
		t.Errorf("too late: %v", err)
	}
	if _, err := s.hub.Watch(Request{}); !errors.Is(err, command.ErrEmptyKey) {
		t.Errorf("without a key: %v", err)
	}
}

// A jump ends who waits inside its gap, also where the same step compacts the gap of another one.
func TestAGapTakesThePlaceOfAnother(t *testing.T) {
	s := newStore(t, DefaultLimits)
	jump := func() *mvcc.State {
		next, err := s.state.Jumped(mvcc.Jump{})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	s.publish(jump(), Written{Level: EventsWithPrevious}, s.db.NewBatch())
	w := s.watch(Request{Key: []byte("a"), StartRevision: s.state.Revision + 5})
	next, err := jump().Compacted(s.state.Revision)
	if err != nil || len(next.Gaps) != len(s.state.Gaps) {
		t.Fatal(next, err)
	}
	s.publish(next, Written{Level: EventsWithPrevious}, s.db.NewBatch())
	var from *CompactedError
	if _, err := w.Take(); !errors.As(err, &from) || from.Revision != s.state.Revision {
		t.Errorf("waiting inside a gap: %v", err)
	}
}

// What is found is handed out before all is read in which there is nothing more for a watcher, and that is read in
// parts.
func TestMuchThatNobodyWantsIsReadInParts(t *testing.T) {
	const most = 10
	s := newStore(t, Limits{QueuedEvents: 4, QueuedBytes: 300, CatchUpBytes: 1 << 20, CatchUpChanges: most,
		JoinRevisions: 3})
	s.apply(Nothing, []string{"a"})
	for range 100 {
		s.apply(Nothing, []string{"b", "c"})
	}
	w := s.watch(Request{Key: []byte("a"), RangeEnd: []byte("aa"), StartRevision: mvcc.FirstRevision + 1})
	batch, err := w.Next(t.Context())
	if err != nil || len(batch.Events) != 1 || batch.Revision > mvcc.FirstRevision+most {
		t.Fatalf("%d events up to %d: %v", len(batch.Events), batch.Revision, err)
	}
	for at := batch.Revision; at < s.state.Revision; at = w.Progress() {
		if err := w.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.valid()
		if now := w.Progress(); now <= at || now > at+most {
			t.Fatalf("it was at %d, and is at %d", at, now)
		}
	}
	s.apply(Events, []string{"a"})
	if batch, err = w.Next(t.Context()); err != nil || len(batch.Events) != 1 || batch.Revision != s.state.Revision {
		t.Errorf("what comes behind it: %d events up to %d: %v", len(batch.Events), batch.Revision, err)
	}
}

// TestWaitRevision waits for what comes, what is there, and what never comes.
func TestWaitRevision(t *testing.T) {
	s := newStore(t, DefaultLimits)
	done := make(chan error)
	wait := func(ctx context.Context, rev int64) { go func() { done <- s.hub.WaitRevision(ctx, rev) }() }
	wait(t.Context(), 1)
	if err := <-done; err != nil {
		t.Error(err)
	}
	wait(t.Context(), 3)
	s.apply(Nothing, []string{"a"}, []string{"a"})
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	wait(ctx, 4)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wait(t.Context(), 4+mvcc.Ahead)
	if err := <-done; !errors.Is(err, command.ErrCompacted) {
		t.Errorf("of another history: %v", err)
	}
	wait(t.Context(), 4)
	gone := errors.New("the store is closed")
	s.hub.Close(gone)
	if err := <-done; !errors.Is(err, gone) {
		t.Error(err)
	}
}

// However many watchers nobody reads, what they hold together is bounded, and each of them gets everything once it is
// read: from disk.
func TestUnreadWatchersAreBounded(t *testing.T) {
	const watchers, revisions = 3000, 200
	limits := Limits{
		QueuedEvents: 4096, QueuedBytes: 1 << 20, CatchUpBytes: 1 << 10, JoinRevisions: 8,
		TotalBytes: 64 << 10, TightBytes: 16,
	}
	s := newStore(t, limits)
	var all []*Watcher
	for range watchers {
		w, err := s.hub.Watch(Request{Key: []byte("k")})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		all = append(all, w)
	}
	const largest = 64 // of one event
	for range revisions {
		s.apply(Events, []string{"k"})
		if m := s.hub.memory; m.queued > limits.TotalBytes+watchers*largest || m.queued < 0 || m.taken != 0 {
			t.Fatalf("%+v is held", m)
		}
	}
	for _, w := range all[:100] {
		next := int64(mvcc.FirstRevision + 1)
		for next <= s.state.Revision {
			batch, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range batch.Events {
				if e.Kv.ModRevision != next {
					t.Fatalf("event of %d, want %d", e.Kv.ModRevision, next)
				}
				next++
			}
		}
	}
	for _, w := range all {
		w.Close()
	}
	if m := s.hub.memory; m != (memory{}) {
		t.Errorf("%+v is held by nobody", m)
	}
}
