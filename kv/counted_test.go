package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/keyset"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// settle waits until a store has counted its keys.
func settle(t testing.TB, s *Store) {
	t.Helper()
	for end := time.Now().Add(time.Minute); s.counter.busy(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the keys are not counted")
		}
	}
}

// TestCountsWithAndWithoutIndex sees that memory, for the index of the keys, or a limit of a request, changes no
// answer: beside writes, and after a restart.
func TestCountsWithAndWithoutIndex(t *testing.T) {
	const keys = 40
	for _, limit := range []int64{-1, 1, 1 << 10, 1 << 20} {
		fs := vfs.NewMem()
		open := func() *node {
			s, err := Open(Options{FS: fs, Dir: "data", CountBytes: limit, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return &node{Store: s, t: t}
		}
		n := open()
		m := map[int]bool{}
		random := rand.New(rand.NewPCG(uint64(limit), 1))
		key := func(i int) []byte { return fmt.Appendf(nil, "k%02d", i) }
		for range 300 {
			i := random.IntN(keys)
			if m[i] = random.IntN(3) != 0; m[i] {
				n.apply(command.EncodePut(&pb.PutRequest{Key: key(i)}))
			} else {
				n.apply(command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: key(i)}))
			}
			if random.IntN(20) == 0 {
				if err := n.Sync(); err != nil {
					t.Fatal(err)
				}
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				n = open()
			}
			from, to, most := random.IntN(keys), random.IntN(keys+10), random.IntN(8)
			var want int64
			for at := from; at < to; at++ {
				if m[at] {
					want++
				}
			}
			q := &pb.RangeRequest{Key: key(from), RangeEnd: key(to), Limit: int64(most), CountOnly: random.IntN(4) == 0}
			resp, err := n.Range(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			kvs, more := want, false
			if most > 0 {
				kvs, more = min(want, int64(most)), want > int64(most)
			}
			if q.CountOnly {
				kvs, more = 0, false
			}
			if resp.Count != want || int64(len(resp.Kvs)) != kvs || resp.More != more {
				t.Fatalf("with %d bytes: %v gives %d of %d keys, more %t; want %d of %d, %t",
					limit, q, len(resp.Kvs), resp.Count, resp.More, kvs, want, more)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCountBesideApply counts keys of which there are as many as the revision says, while it rises.
func TestCountBesideApply(t *testing.T) {
	n := newNode(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for limit := range int64(3) {
		wg.Go(func() {
			for ctx.Err() == nil {
				q := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Limit: limit, CountOnly: limit == 2}
				resp, err := n.Range(ctx, q)
				if err == nil && resp.Count != resp.Header.Revision-mvcc.FirstRevision {
					t.Errorf("%d keys at revision %d", resp.Count, resp.Header.Revision)
					return
				}
			}
		})
	}
	for i := range 1000 {
		n.apply(command.EncodePut(&pb.PutRequest{Key: fmt.Appendf(nil, "k%d", i)}))
		if i == 300 {
			if err := n.Checkpoint("copy"); err != nil {
				t.Fatal(err)
			}
			if err := n.Install("copy", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	wg.Wait()
}

// lines is a log of messages.
type lines struct {
	slog.Handler
	mu  sync.Mutex
	all []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "keys" {
			line += fmt.Sprint(" ", a.Value)
		}
		return true
	})
	l.all = append(l.all, line)
	return nil
}

// with returns the lines that begin with a text.
func (l *lines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.HasPrefix(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// flap has a key begin and cease to exist so many times.
func (n *node) flap(key string, times int) {
	var both [][]byte
	for range times {
		both = append(both, put(key, ""), del(key, ""))
	}
	n.apply(both...)
}

// A store with few keys and a long history is open before any of it is looked at, takes of it what it has memory for,
// counts right at all revisions, and says that the keys are counted when they are, and how many there are.
func TestALongHistoryHoldsUpNobody(t *testing.T) {
	fs, log := vfs.NewMem(), &lines{}
	n := openNodeWith(t, Options{FS: fs, CountBytes: -1})
	for _, key := range []string{"a", "b", "c"} {
		n.flap(key, 1500)
	}
	n.apply(put("a", "1"), put("b", "1"))
	if err := n.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openNodeWith(t, Options{FS: fs, CountBytes: 1 << 10, Logger: slog.New(log)})
	settle(t, n.Store)
	if got := log.with("keys are counted"); len(got) != 1 || got[0] != "keys are counted 2" {
		t.Errorf("it says %q", got)
	}
	for rev, want := range map[int64]int64{2: 1, 3: 0, 3001: 0, 3002: 1, 9001: 0, 9002: 1, 9003: 2} {
		resp, err := n.Range(t.Context(), &pb.RangeRequest{
			Key: []byte{0}, RangeEnd: []byte{0}, Revision: rev, CountOnly: true,
		})
		if err != nil || resp.Count != want {
			t.Errorf("at %d: %v, %v, want %d", rev, resp, err, want)
		}
	}
	g := n.current.Load()
	n.counter.stop()
	g.keys = keyset.New(g.now.Load().Revision, 1<<30)
	s, _ := g.keys.Begin()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := g.survey(ended, s); found || !errors.Is(err, context.Canceled) || g.keys.Whole() {
		t.Errorf("a look that was ended: %t, %v", found, err)
	}
}

// Opening and installing look at no keys: that is for later.
func TestOpeningLooksAtNoKeys(t *testing.T) {
	n := newNode(t)
	n.apply(put("a", "1"))
	if err := n.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	g, _, err := n.stage("copy", nil)
	if err != nil {
		t.Fatal(err)
	}
	if g.keys.Whole() {
		t.Error("they were looked at")
	}
	if err := n.leftovers.discard(g); err != nil {
		t.Fatal(err)
	}
}

// A look that came too late, since what it asks for was compacted, has found nothing, and nothing is said of it.
func TestALookThatWasAbandonedCountsNothing(t *testing.T) {
	log := &lines{}
	n := openNodeWith(t, Options{FS: vfs.NewMem(), Logger: slog.New(log)})
	n.apply(put("a", "1"))
	settle(t, n.Store)
	n.counter.stop()
	g := n.current.Load()
	g.keys = keyset.New(g.now.Load().Revision, 1<<20)
	g.counted = counted{looked: 1}
	s, _ := g.keys.Begin()
	n.apply(put("a", "2"), compact(3))
	if found, err := g.survey(t.Context(), s); found || err != nil || g.keys.Whole() {
		t.Errorf("found %t, %v, all are counted %t", found, err, g.keys.Whole())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n.flap("b", 2000)
	for _, ctx := range []context.Context{ended, t.Context()} {
		if got := log.with("keys are counted"); len(got) > 0 {
			t.Errorf("it says %q", got)
		}
		if _, err := keepCounted(ctx, &n.current, n.options.Logger); !errors.Is(err, ctx.Err()) {
			t.Error(err)
		}
	}
	if got := log.with("keys are counted"); len(got) != 1 || got[0] != "keys are counted 1" {
		t.Errorf("it says %q", got)
	}
}

// Memory for the index that is never enough is said once, and that it is enough again once too.
func TestTooLittleMemoryIsSaidOnce(t *testing.T) {
	log := &lines{}
	n := openNodeWith(t, Options{FS: vfs.NewMem(), CountBytes: 1, Logger: slog.New(log)})
	for i := range 100 {
		n.apply(put(fmt.Sprint(i), "1"))
		settle(t, n.Store)
	}
	if got := log.with("count-bytes is used up"); len(got) != 1 {
		t.Errorf("it says %d times that memory lacks", len(got))
	}
	n.apply(compact(n.Revision()))
	settle(t, n.Store)
	if got := log.with("count-bytes"); len(got) != 2 {
		t.Errorf("it says %q", got)
	}
}

// A transaction counts what it has changed, and what those before it in its batch have, however much that is; and so
// it does where keys are not counted beforehand.
func TestATransactionCountsItsManyChanges(t *testing.T) {
	count := opRange(&pb.RangeRequest{Key: []byte("k/1"), RangeEnd: []byte("k/3"), CountOnly: true})
	was := opRange(&pb.RangeRequest{Key: []byte("k/1"), RangeEnd: []byte("k/3"), CountOnly: true, Revision: 3})
	for _, counted := range []int64{0, -1} {
		n := openNodeWith(t, Options{FS: vfs.NewMem(), MemTableBytes: 1 << 20, CountBytes: counted})
		n.apply(put("k/1", "v"), put("k/3", "v")) // revisions 2 and 3
		settle(t, n.Store)
		var puts, txns [][]byte
		for i := range 1000 {
			puts = append(puts, put(fmt.Sprintf("k/1/%04d", i), "v"))
		}
		var ops []*pb.RequestOp
		for i := range 500 {
			ops = append(ops, opPut(fmt.Sprintf("k/2/%04d", i), "v"), count)
		}
		ops = append(ops, opDelete("k/1/", "k/10"), count, was)
		txns = append(puts, command.EncodeTxn(&pb.TxnRequest{Success: ops}))
		results := n.apply(txns...)
		r, err := command.DecodeTxnResult(results[len(results)-1])
		if err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			if got := r.Responses[2*i+1].GetResponseRange().Count; got != int64(1+1000+i+1) {
				t.Fatalf("behind %d puts there are %d keys", i+1, got)
			}
		}
		last := r.Responses[len(r.Responses)-2:]
		if got := last[0].GetResponseRange().Count; got != 501 {
			t.Errorf("without what was deleted there are %d keys", got)
		}
		if got := last[1].GetResponseRange().Count; got != 1 {
			t.Errorf("before all there were %d keys", got)
		}
	}
}
