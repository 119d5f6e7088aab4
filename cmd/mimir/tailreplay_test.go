package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
	"github.com/mimir-kv/mimir/server/admin"
)

// tailAt serves a tail as a node does, and returns a replay of it.
func tailAt(t *testing.T, answers map[string]string) *replaying {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			text = `{"error":"no such call"}`
		} else if strings.HasPrefix(text, `{"error"`) {
			w.WriteHeader(http.StatusConflict)
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	c, err := admin.NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &replaying{client: c, tail: &storedTail{}}
	r.tail.Name = "t"
	return r
}

// TestForksThatAreNotKnown are refused, unless the operator knows.
func TestForksThatAreNotKnown(t *testing.T) {
	const path = "/mimir/v1/tails/t/fork"
	for _, c := range []struct {
		what, answer string
		revision     int64
		state        bool
		want, err    string
	}{
		{what: "known", answer: `{"position":2,"revision":3,"base":"282071557329199","readable":1}`,
			want: "3 282071557329199"},
		{what: "compacted", answer: `{"position":2,"revision":0,"base":"282071557329199"}`, want: "0 282071557329199"},
		{what: "compacted, and a state", answer: `{"revision":0,"base":9}`, state: true, err: "--fork-revision"},
		{what: "not known", answer: `{"unknown":"no reign begins there"}`,
			err: "no reign begins there; if you know it"},
		{what: "told", answer: `{"unknown":"no reign begins there"}`, revision: 7, want: "7 8"},
		{what: "another history, whatever is told", answer: `{"error":"tail of another history"}`,
			revision: 7, err: "tail of another history"},
		{what: "a node of before", err: "no such call"},
		{what: "a node of before, and told", revision: 7, want: "7 8"},
	} {
		answers := map[string]string{}
		if c.answer != "" {
			answers[path] = c.answer
		}
		r := tailAt(t, answers)
		r.forkRevision, r.state = c.revision, c.state
		err := r.findFork(t.Context())
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %s", c.what, err, c.err)
		}
		if got := fmt.Sprint(r.fork.Revision, r.fork.Base); c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %s, %v, want %s", c.what, got, err, c.want)
		}
	}
}

// TestSources: commands one by one, and changes a revision at a time; neither is taken for whole if it is not.
func TestSources(t *testing.T) {
	const (
		commands = `{"epoch":1,"position":3,"op":"put","request":{"key":"aw==","value":"dg=="}}
{"epoch":1,"position":4,"op":"lease-expiry","request":{"ID":"7"}}
`
		state = `{"position":9,"epoch":1,"revision":7,"forkRevision":3,"firstRevision":5}
{"type":"PUT","kv":{"key":"aw==","mod_revision":"5","version":"1","value":"dg=="}}
{"type":"DELETE","kv":{"key":"bA==","mod_revision":"5"}}
{"type":"PUT","kv":{"key":"bQ==","mod_revision":"7","version":"1"}}
`
	)
	r := tailAt(t, map[string]string{"/mimir/v1/tails/t": commands, "/mimir/v1/tails/t/state": state})
	read := func() (all []string, err error) {
		err = r.source(context.Background(), func(c *replay.Command) error {
			all = append(all, fmt.Sprint(c.Op, " ", c.Position, " ", c.Revision, " ", len(c.Events)))
			return nil
		})
		return all, err
	}
	if got, err := read(); err == nil || !strings.Contains(err.Error(), "got 2 commands of 0") {
		t.Errorf("a tail that is longer than its list says: %v, %v", got, err)
	}
	r.tail.Commands = 2
	if got, err := read(); err != nil || fmt.Sprint(got) != "[put 3 0 0 lease-expiry 4 0 0]" {
		t.Errorf("commands: %v, %v", got, err)
	}
	r.state, r.fork.Revision = true, 3
	if got, err := read(); err != nil || fmt.Sprint(got) != "[changes 0 5 2 changes 0 7 1]" {
		t.Errorf("changes: %v, %v", got, err)
	}
	if !strings.Contains(r.holes, "revision 4 to 4") {
		t.Errorf("what was compacted: %q", r.holes)
	}
}

// emptyFleet has no keys.
type emptyFleet struct{ replay.Fleet }

func (emptyFleet) Keys(_ context.Context, keys []string, _ int64) (now, then []*mvccpb.KeyValue, err error) {
	return make([]*mvccpb.KeyValue, len(keys)), make([]*mvccpb.KeyValue, len(keys)), nil
}

// A node holds so much of what a tail touches, and then names the command that holds as much as there is.
func TestANodeHoldsOnlySoMuchOfATail(t *testing.T) {
	const commands = `{"epoch":1,"position":3,"op":"put","request":{"key":"aw==","value":"dg=="}}
`
	for held, refused := range map[int64]bool{0: false, 1: true, mostHeld: false} {
		r := tailAt(t, map[string]string{"/mimir/v1/tails/t": commands})
		r.tail.Commands, r.dry, r.maxOps, r.maxHeld = 1, true, 128, held
		_, err := r.carryOut(t.Context(), emptyFleet{}, nil, func(*replay.Entry) error { return nil })
		err = tooLarge("t", err)
		if told := fmt.Sprint(err); (err != nil) != refused ||
			refused && !strings.Contains(told, "mimir tail replay t does it") {
			t.Errorf("%d: %v", held, err)
		}
	}
}
