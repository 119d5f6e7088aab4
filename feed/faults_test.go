package feed_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/feed"
)

// troubles are what a feed was told of.
type troubles struct {
	mu   sync.Mutex
	said []string
}

func (l *troubles) tell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, err.Error())
}

func (l *troubles) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(strings.Join(l.said, "\n"), text)
}

// cuts dials, and can cut what was dialed last.
type cuts struct {
	dial feed.Dial
	mu   sync.Mutex
	conn *grpc.ClientConn
}

func (c *cuts) to(ctx context.Context) (grpc.ClientConnInterface, func(), error) {
	conn, leave, err := c.dial(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, _ = conn.(*grpc.ClientConn)
	return conn, leave, err
}

func (c *cuts) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.Close()
}

// However often the connection is lost, each revision comes once, whole and in order.
func TestLostConnections(t *testing.T) {
	w := newWorld(t, 1)
	c := &cuts{dial: w.to(0)}
	r := w.follow(feed.Options{Dial: c.to})
	r.want("begin")
	var want []string
	for i := range 40 {
		if _, err := w.write[0].Txn(t.Context()).Then(clientv3.OpPut("a", fmt.Sprint(i)),
			clientv3.OpPut("b", fmt.Sprint(i))).Commit(); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("revision put a=%d put b=%d", i, i))
		if i%8 == 5 {
			c.cut()
		}
		if i%8 == 7 {
			r.want(want...)
			want = nil
		}
	}
}

// An endpoint that has less than was given out, as that of a region that is cut off, is told and left: it speaks of no
// history that would end the feed.
func TestAnEndpointThatIsBehindIsNotBelieved(t *testing.T) {
	for _, failover := range []bool{false, true} {
		w := newWorld(t, 2)
		w.put("k", "1")
		if failover {
			w.nodes[1].FailOver(t, 2, 2)
		}
		r := w.follow(feed.Options{Dial: w.to(1)})
		r.want("begin")
		w.put("k", "2", 1)
		r.want("revision put k=2")
		w.put("k", "3", 1)
		var told troubles
		r = w.follow(feed.Options{Dial: w.to(0, 1), Token: r.kept, Trouble: told.tell})
		r.want("begin", "revision put k=3")
		if !told.has("cut off") {
			t.Errorf("told: %q", told.said)
		}
	}
}

// An endpoint that cannot say any more what the fleet has is left, though it is all there and says how far it is.
func TestACutOffEndpointIsLeft(t *testing.T) {
	w := newWorld(t, 2)
	r := w.follow(feed.Options{Dial: w.to(0, 1)})
	r.want("begin", "resolved")
	w.nodes[0].Replicator.FailBarriers(status.Error(codes.Unavailable, "the primary does not answer"))
	w.put("k", "of the fleet", 1)
	r.want("revision put k=of the fleet")
}

// A copy goes on by another connection, and begins anew where it cannot be read to its end.
func TestACopyThatIsInterrupted(t *testing.T) {
	w := newWorld(t, 1)
	for i := range 100 {
		w.put(fmt.Sprintf("k%03d", i), "1")
	}
	c, told := &cuts{dial: w.to(0)}, &troubles{}
	r := w.follow(feed.Options{Dial: c.to, Copy: true, Trouble: told.tell})
	r.want("copy")
	first := r.item()
	c.cut()
	second := r.item()
	if n := len(first.Keys); second.Kind != feed.Keys || n+len(second.Keys) != 100 ||
		string(second.Keys[0].Key) != fmt.Sprintf("k%03d", n) {
		t.Fatalf("%s, then %s", text(first), text(second))
	}
	r.want("copied")
	r = w.follow(feed.Options{Dial: c.to, Copy: true, Trouble: told.tell})
	at := r.want("copy")
	if r.item(); at.Token != "" || r.kept != "" {
		t.Error("a copy that has not ended has a token")
	}
	w.compact(0, w.put("k000", "2"))
	if again := r.want("copy"); again.Revision <= at.Revision || !told.has("begins anew") {
		t.Errorf("%+v, told %q", again, told.said)
	}
}

// What cannot be is said before anything is asked, and a fleet that is another one ends it.
func TestWhatCannotBeFollowed(t *testing.T) {
	w := newWorld(t, 1)
	r := w.follow(feed.Options{Dial: w.to(0)})
	r.want("begin")
	other := etcdapitest.StartOther(t)
	w.nodes = append(w.nodes, other)
	for what, test := range map[string]struct {
		o   feed.Options
		err error
	}{
		"no way there":        {feed.Options{}, feed.ErrOptions},
		"two places":          {feed.Options{Dial: w.to(0), Token: r.kept, From: 2}, feed.ErrOptions},
		"no revision":         {feed.Options{Dial: w.to(0), From: -1}, feed.ErrOptions},
		"no token":            {feed.Options{Dial: w.to(0), Token: r.kept[1:]}, feed.ErrToken},
		"another fleet":       {feed.Options{Dial: w.to(1), Token: r.kept}, feed.ErrForeign},
		"another fleet later": {feed.Options{Dial: w.to(0, 1), Token: r.kept}, feed.ErrForeign},
	} {
		var told troubles
		c := &cuts{dial: test.o.Dial}
		if what == "another fleet later" {
			test.o.Dial, test.o.Trouble = c.to, told.tell
		}
		f := w.follow(test.o)
		if what == "another fleet later" {
			f.want("begin")
			c.cut()
		}
		err := f.ends()
		if !errors.Is(err, test.err) {
			t.Errorf("%s: %v", what, err)
		}
		if test.err == feed.ErrForeign && !strings.Contains(err.Error(), "begin with a copy") {
			t.Errorf("%s is not told what to do: %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range feed.Follow(ctx, feed.Options{Dial: w.to(0)}) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
}

// A program that reads lines, and is killed at any byte of them, has everything when it has gone on with its last
// token, and what it has twice is the same.
func TestKilledAtAnyByte(t *testing.T) {
	w := newWorld(t, 1)
	o := feed.Options{Dial: w.to(0), From: 2, Previous: true}
	for i := range 3 {
		v := fmt.Sprint(i)
		both := []clientv3.Op{clientv3.OpPut("a", v), clientv3.OpPut("b\xff", v)}
		if _, err := w.write[0].Txn(t.Context()).Then(both...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	lines := w.follow(o).lines(4)
	want, last := consume(t, lines)
	if len(want) != 6 {
		t.Fatalf("%s", lines)
	}
	rest := map[feed.Token]map[string]string{last: {}}
	for n := range len(lines) + 1 {
		got, token := consume(t, lines[:n])
		if rest[token] == nil {
			again := o
			if token != "" {
				again.From, again.Token = 0, token
			}
			r, more := w.follow(again), []byte(nil)
			for r.kept != last {
				more = append(more, r.lines(1)...)
			}
			rest[token], _ = consume(t, more)
		}
		for place, change := range rest[token] {
			if was, twice := got[place]; twice && was != change {
				t.Fatalf("killed at byte %d: %s is %s, and was %s", n, place, change, was)
			}
			got[place] = change
		}
		if !maps.Equal(got, want) {
			t.Fatalf("killed at byte %d: %q, want %q", n, got, want)
		}
	}
	if len(rest) != 5 {
		t.Errorf("%d tokens", len(rest)-1)
	}
}

// lines reads so many items, and returns their lines.
func (r *reader) lines(items int) (all []byte) {
	r.t.Helper()
	for range items {
		it := r.item()
		for it.Kind == feed.Resolved {
			it = r.item()
		}
		var err error
		if all, err = feed.AppendLines(all, it); err != nil {
			r.t.Fatal(err)
		}
	}
	return all
}

// consume returns the changes on whole lines by revision and key, and the last token.
func consume(t *testing.T, lines []byte) (changes map[string]string, token feed.Token) {
	t.Helper()
	changes = map[string]string{}
	for text := range strings.Lines(string(lines)) {
		if !strings.HasSuffix(text, "\n") {
			break
		}
		var l struct {
			Revision, Key, KeyBase64 string
			Token                    feed.Token
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		token = cmp.Or(l.Token, token)
		if key := l.Key + l.KeyBase64; key != "" {
			changes[l.Revision+" "+key] = text
		}
	}
	return changes, token
}
