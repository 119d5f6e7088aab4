package feed_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/check/leaks"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/feed"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func TestMain(m *testing.M) { os.Exit(leaks.Run(m)) }

// world is nodes that hold one history, or two that have parted, and who writes there.
type world struct {
	t     *testing.T
	nodes []*etcdapitest.Node
	write []*clientv3.Client
}

func newWorld(t *testing.T, nodes int) *world {
	w := &world{t: t}
	for i := range nodes {
		n := etcdapitest.StartPlain(t)
		n.Replicator.Be(uint64(i + 1))
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{n.Endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		w.nodes, w.write = append(w.nodes, n), append(w.write, c)
	}
	return w
}

// put puts a key at some nodes, which have the same history up to there; at all of them where none is named.
func (w *world) put(key, value string, at ...int) (revision int64) {
	w.t.Helper()
	if len(at) == 0 {
		at = []int{0, 1}[:len(w.nodes)]
	}
	for _, i := range at {
		r, err := w.write[i].Put(w.t.Context(), key, value)
		if err != nil {
			w.t.Fatal(err)
		}
		revision = r.Header.Revision
	}
	return revision
}

func (w *world) compact(at int, revision int64) {
	w.t.Helper()
	if _, err := w.write[at].Compact(w.t.Context(), revision); err != nil {
		w.t.Fatal(err)
	}
}

// to dials nodes in turn.
func (w *world) to(at ...int) feed.Dial {
	var mu sync.Mutex
	next := 0
	return func(context.Context) (grpc.ClientConnInterface, func(), error) {
		mu.Lock()
		defer mu.Unlock()
		n := w.nodes[at[next%len(at)]]
		next++
		c, err := grpc.NewClient(n.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
		return c, func() { c.Close() }, err
	}
}

// reader reads a feed item by item.
type reader struct {
	t    *testing.T
	next func() (*feed.Item, error, bool)
	stop func()
	kept feed.Token // the last one
}

func (w *world) follow(o feed.Options) *reader {
	o.Heartbeat = feed.LeastHeartbeat
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	next, stop := iter.Pull2(feed.Follow(ctx, o))
	r := &reader{t: w.t, next: next, stop: func() { stop(); cancel() }}
	w.t.Cleanup(r.stop)
	return r
}

// text is an item in short.
func text(it *feed.Item) string {
	s := fmt.Sprint(it.Kind)
	for _, e := range it.Events {
		s += fmt.Sprintf(" %s %s=%s", strings.ToLower(e.Type.String()), e.Kv.Key, e.Kv.Value)
		if e.PrevKv != nil {
			s += fmt.Sprintf(" was %s", e.PrevKv.Value)
		}
	}
	for _, kv := range it.Keys {
		s += fmt.Sprintf(" %s=%s", kv.Key, kv.Value)
	}
	if it.Kind == feed.Void {
		s += fmt.Sprintf(" given=%t", it.Given)
	}
	return s
}

// want reads items, without those of Resolved, and compares what they are in short.
func (r *reader) want(all ...string) (last *feed.Item) {
	r.t.Helper()
	for _, want := range all {
		it := r.item()
		for it.Kind == feed.Resolved && want != string(feed.Resolved) {
			it = r.item()
		}
		if got := text(it); got != want {
			r.t.Fatalf("%s, want %s", got, want)
		}
		last = it
	}
	return last
}

func (r *reader) item() *feed.Item {
	r.t.Helper()
	it, err, more := r.next()
	if !more || err != nil {
		r.t.Fatalf("it has ended: %v", err)
	}
	if it.Token != "" {
		r.kept = it.Token
	}
	return it
}

// ends reads the error with which it ends.
func (r *reader) ends() error {
	r.t.Helper()
	for {
		it, err, more := r.next()
		switch {
		case !more:
			r.t.Fatal("it has ended without an error")
		case err != nil:
			if _, _, more := r.next(); more {
				r.t.Error("it goes on behind an error")
			}
			return err
		case it.Kind != feed.Resolved:
			r.t.Fatalf("%s, and not the end", text(it))
		}
	}
}

// What is written comes once, in order, whole, and with what was before; and again from each place that was kept.
func TestWhatIsWrittenComes(t *testing.T) {
	w := newWorld(t, 1)
	w.put("before", "1")
	r := w.follow(feed.Options{Dial: w.to(0), Previous: true})
	tokens := []feed.Token{r.want("begin").Token}
	w.put("k", "1")
	tokens = append(tokens, r.want("revision put k=1").Token)
	if _, err := w.write[0].Txn(t.Context()).Then(clientv3.OpPut("k", "2"), clientv3.OpDelete("before"),
		clientv3.OpPut("l", "3")).Commit(); err != nil {
		t.Fatal(err)
	}
	const together = "revision put k=2 was 1 delete before= was 1 put l=3"
	tokens = append(tokens, r.want(together).Token)
	w.put("m", "4")
	all := []string{"revision put k=1", together, "revision put m=4"}
	r.want(all[2])
	at := r.want("resolved")
	if now := w.nodes[0].Store.Revision(); at.Revision != now {
		t.Errorf("resolved up to %d, and it is %d", at.Revision, now)
	}
	for i, token := range tokens {
		r := w.follow(feed.Options{Dial: w.to(0), Token: token, Previous: true})
		r.want(append([]string{"begin"}, all[i:]...)...)
	}
	r = w.follow(feed.Options{Dial: w.to(0), Token: at.Token})
	r.want("begin", "resolved")
	w.put("n", "5")
	r.want("revision put n=5")
	r = w.follow(feed.Options{Dial: w.to(0), From: 3})
	r.want("begin", "revision put k=1")
}

// Only the keys that are named are followed, and a token is for those.
func TestAPrefixIsFollowed(t *testing.T) {
	w := newWorld(t, 1)
	key, end := feed.Prefix("a/")
	o := feed.Options{Dial: w.to(0), Key: key, End: end}
	r := w.follow(o)
	r.want("begin")
	w.put("a/1", "1")
	w.put("b/1", "1")
	last := w.put("c/1", "1")
	r.want("revision put a/1=1")
	at := r.want("resolved")
	for at.Revision < last { // of what is not followed too, so that the token stays ahead of compaction
		at = r.item()
	}
	w.compact(0, last)
	o.Token = at.Token
	again := w.follow(o)
	again.want("begin", "resolved")
	o.Key, o.End = nil, nil
	if err := w.follow(o).ends(); !errors.Is(err, feed.ErrForeign) {
		t.Error(err)
	}
}

// A copy has all keys at one revision, and what comes behind it follows; from a token it is made only where the history
// does not lead on.
func TestACopy(t *testing.T) {
	w := newWorld(t, 1)
	for i := range 100 { // more than a page
		w.put(fmt.Sprintf("k%03d", i), "1")
	}
	o := feed.Options{Dial: w.to(0), Copy: true}
	r := w.follow(o)
	at := r.want("copy").Revision
	w.put("k000", "2")
	var keys []*mvccpb.KeyValue
	it := r.item()
	for ; it.Kind == feed.Keys; it = r.item() {
		keys = append(keys, it.Keys...)
	}
	if it.Kind != feed.Copied || it.Revision != at || it.Count != 100 || len(keys) != 100 ||
		slices.ContainsFunc(keys, func(kv *mvccpb.KeyValue) bool { return string(kv.Value) != "1" }) {
		t.Fatalf("%+v, %d keys", it, len(keys))
	}
	o.Token = it.Token
	r.want("revision put k000=2")
	w.follow(o).want("begin", "revision put k000=2")
	w.compact(0, w.put("k001", "3"))
	r = w.follow(o)
	r.want("begin", "copy")
	o.Copy = false
	r = w.follow(o)
	r.want("begin")
	var compacted *feed.CompactedError
	if err := r.ends(); !errors.As(err, &compacted) || compacted.Revision != at {
		t.Error(err)
	}
}

// The first revision that is left is enough: what was compacted was given out.
func TestWhatIsCompactedWasGiven(t *testing.T) {
	w := newWorld(t, 1)
	r := w.follow(feed.Options{Dial: w.to(0)})
	r.want("begin")
	token := r.kept
	w.put("k", "1")
	w.put("k", "2")
	w.compact(0, 2)
	w.follow(feed.Options{Dial: w.to(0), Token: token}).want("begin", "revision put k=1", "revision put k=2")
	w.follow(feed.Options{Dial: w.to(0), From: 1}).want("begin", "revision put k=1", "revision put k=2")
}

// A failover at another region is passed where nothing that was given out is lost, and told.
func TestAFailoverThatLosesNothing(t *testing.T) {
	w := newWorld(t, 2)
	w.put("k", "1")
	r := w.follow(feed.Options{Dial: w.to(0)})
	r.want("begin")
	token := r.kept
	fork := w.put("k", "2")
	r.want("revision put k=2")
	seen := r.kept
	w.nodes[1].FailOver(t, 2, 2)
	w.put("k", "3", 1)
	for _, token := range []feed.Token{token, seen} { // behind the first one something may have been given out
		r := w.follow(feed.Options{Dial: w.to(1), Token: token})
		all := []string{"begin", "revision put k=2", "void given=false", "revision put k=3"}
		if token == seen {
			all = slices.Delete(all, 1, 2)
		}
		r.want(all[:len(all)-1]...)
		r.want(all[len(all)-1])
	}
	r = w.follow(feed.Options{Dial: w.to(1), Token: seen})
	r.want("begin")
	if void := r.want("void given=false"); void.After != fork || void.Revision < 1<<47 {
		t.Errorf("%+v, want after %d", void, fork)
	}
}

// What was given out and is cut off is named, and ends it: with the exact revisions, however long the tail.
func TestAFailoverThatLosesSomething(t *testing.T) {
	for _, tail := range []int{1, 2, 3, 9} {
		w := newWorld(t, 2)
		key, end := feed.Prefix("k")
		o := feed.Options{Dial: w.to(0), Key: key, End: end}
		r := w.follow(o)
		r.want("begin")
		fork := w.put("k", "1")
		r.want("revision put k=1")
		before := r.kept
		w.put("other", "lost", 0)
		o.Token = before
		nothing := w.follow(o) // a tail in which there is nothing for it
		nothing.want("begin")
		for at := nothing.want("resolved"); at.Revision != fork+1; at = nothing.item() {
		}
		o.Token = ""
		for i := range tail {
			w.put("k", fmt.Sprint("lost", i), 0)
			r.want(fmt.Sprint("revision put k=lost", i))
		}
		w.nodes[1].FailOver(t, 2, 2)
		w.put("k", "2", 1)

		o.Dial, o.Token = w.to(1), r.kept
		for _, copies := range []bool{false, true} {
			o.Copy = copies
			r = w.follow(o)
			r.want("begin")
			void := r.want("void given=true")
			if void.After != fork || void.Revision < 1<<47 || (void.Token == "") != copies {
				t.Errorf("%+v, want after %d", void, fork)
			}
			if copies {
				r.want("copy", "keys k=2", "copied")
				continue
			}
			var err *feed.VoidError
			if !errors.As(r.ends(), &err) || err.After != fork || err.Next != void.Revision {
				t.Errorf("%+v", err)
			}
			undone := o
			undone.Token = void.Token
			w.follow(undone).want("begin", "revision put k=2")
		}
		o.Copy, o.Token = false, nothing.kept
		w.follow(o).want("begin", "void given=false", "revision put k=2")
	}
}

// Over several failovers each gap is told, in order, also where nothing was written between; and what is void is found
// behind all that is not.
func TestSeveralFailovers(t *testing.T) {
	w := newWorld(t, 2)
	key, end := feed.Prefix("x")
	before := w.put("k", "1")
	r := w.follow(feed.Options{Dial: w.to(0)})
	x := w.follow(feed.Options{Dial: w.to(0), Key: key, End: end})
	r.want("begin")
	x.want("begin")
	first, firstX := r.kept, x.kept
	var forks []int64
	for epoch := range 3 {
		for _, n := range w.nodes {
			n.FailOver(t, timeline.Epoch(epoch+2), 1)
		}
		forks = append(forks, before)
		before = w.put("k", fmt.Sprint(epoch+2))
	}
	r.want("void given=false", "revision put k=2", "void given=false", "revision put k=3", "void given=false",
		"revision put k=4")
	for i := range 40 {
		w.put("k", fmt.Sprint("lost", i), 0)
		r.want(fmt.Sprint("revision put k=lost", i))
	}
	w.nodes[1].FailOver(t, 5, 2)
	forks = append(forks, before)
	w.put("x", "5", 1)

	again := w.follow(feed.Options{Dial: w.to(1), Token: r.kept})
	again.want("begin")
	if void := again.want("void given=true"); void.After != before {
		t.Errorf("%+v, want after %d", void, before)
	}
	all := w.follow(feed.Options{Dial: w.to(1), Token: first})
	none := w.follow(feed.Options{Dial: w.to(1), Token: firstX, Key: key, End: end})
	all.want("begin")
	none.want("begin")
	for i, fork := range forks {
		void, there := all.want("void given=false"), none.want("void given=false")
		if void.After != fork || there.After != fork || there.Revision != void.Revision {
			t.Errorf("%+v and %+v, want after %d", void, there, fork)
		}
		if i < 3 {
			all.want(fmt.Sprint("revision put k=", i+2))
		}
	}
	all.want("revision put x=5")
	none.want("revision put x=5")
}
