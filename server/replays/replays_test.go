package replays

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// played is an Engine whose replay is what a test says.
type played func(ctx context.Context, dry bool, to Teller) error

func (p played) Tails(context.Context, *Means) (*List, error) { return &List{}, nil }

func (p played) Writes(context.Context, *Means, string, int) ([]*admin.Write, error) {
	return nil, errors.New(`no tail "t" on any node`)
}

func (p played) Replay(ctx context.Context, _ *Means, _ string, dry bool, to Teller) error {
	return p(ctx, dry, to)
}

// patience is for what takes no time.
const patience = 20 * time.Second

// house is a node with a Runner, in a fleet of which a test says what it is.
type house struct {
	t      *testing.T
	url    string
	runner *Runner
	fleet  atomic.Pointer[replication.FleetStatus]
	epoch  atomic.Uint64 // as this node has it
	ended  chan string
}

// newHouse returns a node eu-1; other is what a node us-1 says of its replays.
func newHouse(t *testing.T, p played, o Options, other string) *house {
	t.Helper()
	h := &house{t: t, ended: make(chan string, 8)}
	h.epoch.Store(2)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mimir/v1/fleet", func(w http.ResponseWriter, _ *http.Request) {
		text, err := admin.Marshal(h.fleet.Load())
		if err != nil {
			t.Error(err)
		}
		w.Write(text) //nolint:errcheck // the test says what came
	})
	s := httptest.NewServer(mux)
	us := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if other == "" {
			w.WriteHeader(http.StatusNotFound)
			other = `{"error":"no such call"}`
		}
		io.WriteString(w, other) //nolint:errcheck // the test says what came
	}))
	t.Cleanup(us.Close)
	h.fleet.Store(&replication.FleetStatus{Primary: "eu", Epoch: 2, TakeWrites: []string{"eu"},
		Regions: []replication.RegionStatus{{Name: "us", Nodes: []replication.NodeStatus{
			{Name: "us-1", Reachable: true, ClientURLs: []string{us.URL}}}}}})
	client, err := admin.NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Engine, o.Node, o.Watch = p, "eu-1", time.Millisecond
	o.Means = func(*http.Request) (*Means, error) { return &Means{Admin: client, Close: func() {}}, nil }
	o.Primary = func() (string, replication.Epoch) { return "us", replication.Epoch(h.epoch.Load()) }
	o.Ended = func(_, what string, _ replication.Epoch, err error) { h.ended <- fmt.Sprint(what, "; ", err) }
	h.runner = New(o)
	for pattern, handler := range h.runner.Handlers() {
		mux.Handle(pattern, handler)
	}
	h.url = s.URL + "/mimir/v1/replay"
	t.Cleanup(func() {
		h.runner.Close()
		client.Close()
		s.Close()
	})
	return h
}

// ask asks with a body, or without, and returns the status and all that is told.
func (h *house) ask(method, path, body string) (code int, told []State, refused string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, nil, string(text)
	}
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		var s State
		if err := json.Unmarshal(in.Bytes(), &s); err != nil {
			h.t.Fatalf("%v: %s", err, in.Bytes())
		}
		told = append(told, s)
	}
	return answer.StatusCode, told, ""
}

const (
	dry   = `{"tail":"t","dryRun":true}`
	order = `{"tail":"t","region":"eu","epoch":2}`
)

// last is how a replay ended.
func (h *house) last(body string) State {
	h.t.Helper()
	code, told, refused := h.ask("POST", "", body)
	if code != http.StatusOK || len(told) == 0 {
		h.t.Fatalf("%s: %d %s", body, code, refused)
	}
	return told[len(told)-1]
}

// A replay is told from its beginning to its end: how far it is, and what became of each write.
func TestAReplayIsTold(t *testing.T) {
	h := newHouse(t, func(_ context.Context, dry bool, to Teller) error {
		to.Found(3, "us-1")
		for n := range uint64(3) {
			to.At(1, n+1)
		}
		to.Became(Applied, false, &Write{Place: "3", Op: "put", Keys: []Text{TextOf([]byte("k"))}, Lease: "58"})
		to.Became(Conflicts, false, &Write{Place: "4", Op: "put", Reason: "it was changed"})
		to.Became("", true, &Write{Place: "5"})
		to.At(2, 3)
		return nil
	}, Options{}, "")
	if _, told, _ := h.ask("GET", "", ""); len(told) != 1 || told[0].Running || told[0].Doing != noneBefore {
		t.Errorf("before any: %+v", told)
	}
	s := h.last(dry)
	if !s.Done || s.Running || s.Region != "eu" || s.Epoch != 2 || s.Commands != 3 || s.Looked != 3 || s.Decided != 3 ||
		s.Last != "5" || s.Sums != (Sums{Applied: 1, Conflicts: 1, There: 1, Leased: 1}) || s.From != "us-1" ||
		len(s.Writes[Applied]) != 1 || s.Writes[Conflicts][0].Reason != "it was changed" {
		t.Errorf("%+v", s)
	}
	s = h.last(order)
	if !s.Done || s.DryRun || s.Tail != "t" {
		t.Errorf("%+v", s)
	}
	if got := <-h.ended; got != "t into eu of epoch 2: 1 applied, 1 there already, 1 conflict; <nil>" {
		t.Errorf("the log of events: %s", got)
	}
	if _, told, _ := h.ask("GET", "?follow=true", ""); len(told) != 1 || !told[0].Done || len(told[0].Writes) != 2 {
		t.Errorf("afterwards: %+v", told)
	}
	for _, body := range []string{`{"tail":"t"}`, `{"dryRun":true}`, `{"tail":"t","dryRun":true,"only":"k"}`} {
		if code, _, _ := h.ask("POST", "", body); code != http.StatusBadRequest {
			t.Errorf("%s: %d", body, code)
		}
	}
	code, _, text := h.ask("GET", "/tails/t", "")
	if code != http.StatusNotFound || !strings.Contains(text, "no tail") {
		t.Errorf("a tail that is gone: %d %s", code, text)
	}
}

// Of what is long so much is kept.
func TestWhatIsKeptIsBounded(t *testing.T) {
	h := newHouse(t, func(_ context.Context, dry bool, to Teller) error {
		for n := range 3 * MostWrites {
			to.Became(Applied, false, &Write{Place: fmt.Sprint(n)})
		}
		return nil
	}, Options{}, "")
	if s := h.last(dry); s.Sums.Applied != 3*MostWrites || len(s.Writes[Applied]) != MostWrites {
		t.Errorf("%+v: %d", s.Sums, len(s.Writes[Applied]))
	}
	if text := TextOf(bytes.Repeat([]byte("x"), 500)); len(text.Bytes) != MostBytes || text.Size != 500 {
		t.Errorf("%d of %d bytes", len(text.Bytes), text.Size)
	}
	if text := TextOf(make([]byte, 1<<20)); cap(text.Bytes) > 2*MostBytes {
		t.Errorf("of a large value %d bytes are kept", cap(text.Bytes))
	}
}

// Where it is not known what a replay would be done to, or that is another than was confirmed, nothing is begun.
func TestReplaysThatDoNotBegin(t *testing.T) {
	begun := atomic.Int32{}
	engine := func(context.Context, bool, Teller) error { begun.Add(1); return nil }
	for _, c := range []struct {
		what, body, want string
		primary          string
		epoch            replication.Epoch
		writes           []string
	}{
		{"nobody takes writes", dry, "no region is known to take writes", "eu", 2, nil},
		{"two take writes", dry, "eu and us take writes", "eu", 2, []string{"eu", "us"}},
		{"the later one takes none", order, "us takes writes, and a later epoch is of eu", "eu", 2, []string{"us"}},
		{"another region", order, "eu of epoch 2 was confirmed, and the primary is us of epoch 3", "us", 3,
			[]string{"us"}},
		{"another epoch", order, "eu of epoch 2 was confirmed, and the primary is eu of epoch 4", "eu", 4,
			[]string{"eu"}},
	} {
		h := newHouse(t, engine, Options{}, "")
		h.fleet.Store(&replication.FleetStatus{
			Fleet: "mimir", Primary: c.primary, Epoch: c.epoch, TakeWrites: c.writes,
		})
		if s := h.last(c.body); !s.Refused || s.Done || !strings.HasPrefix(s.Error, c.want) {
			t.Errorf("%s: %+v", c.what, s)
		}
	}
	other := `{"running":true,"tail":"t2","by":"token b","seconds":3}`
	if s := newHouse(t, engine, Options{}, other).last(order); !s.Refused ||
		!strings.HasPrefix(s.Error, "node us-1 replays tail t2 since 3 s, ordered by token b") {
		t.Errorf("beside another node: %+v", s)
	}
	if begun.Load() != 0 {
		t.Error("one of them was begun")
	}
	for _, beside := range []string{"", `{"running":true,"dryRun":true}`, `{"running":false}`} {
		if s := newHouse(t, engine, Options{}, beside).last(order); !s.Done {
			t.Errorf("beside a node that says %q: %+v", beside, s)
		}
	}
}

// waiting is an engine that has decided one write, and then waits for its end.
func waiting(ctx context.Context, _ bool, to Teller) error {
	to.Found(9, "us-1")
	to.Became(Applied, false, &Write{Place: "3"})
	<-ctx.Done()
	return fmt.Errorf("command at position 4: %w", ctx.Err())
}

// A replay under way is the only one of its node, goes on when nobody listens, and ends when somebody stops it, when
// the primary moves, when it is late and with its node; where it stopped is told.
func TestReplaysThatEndBeforeTheirEnd(t *testing.T) {
	for _, c := range []struct {
		what, want string
		lasts      time.Duration
		end        func(h *house)
	}{
		{"stopped", "it was stopped by", 0, func(h *house) {
			if code, told, _ := h.ask("POST", "/stop", "{}"); code != http.StatusOK || !told[0].Running {
				h.t.Errorf("stop: %d %+v", code, told)
			}
		}},
		{"moved", "the primary moved: it began with eu of epoch 2, and us is primary of epoch 3 now", 0,
			func(h *house) { h.epoch.Store(3) }},
		{"late", "it did not get to its end in time", time.Second, func(*house) {}},
		{"closed", "the node ends: run it again at another one", 0, func(h *house) { h.runner.Close() }},
	} {
		h := newHouse(t, waiting, Options{Lasts: c.lasts}, "")
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "POST", h.url, strings.NewReader(order))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(answer.Body)
		for in.Scan() && !strings.Contains(in.Text(), `"last":"3"`) {
		}
		leave()
		answer.Body.Close()
		if c.lasts == 0 {
			if code, _, text := h.ask("POST", "", dry); code != http.StatusConflict ||
				!strings.Contains(text, "this node replays already: it replays tail t since") {
				t.Errorf("%s: a second one: %d %s", c.what, code, text)
			}
		}
		c.end(h)
		_, told, _ := h.ask("GET", "?follow=true", "")
		s := told[len(told)-1]
		if s.Running || s.Done || s.Refused || s.Last != "3" || s.Sums.Applied != 1 ||
			!strings.HasPrefix(s.Error, c.want) {
			t.Errorf("%s: %+v", c.what, s)
		}
		if got := <-h.ended; !strings.Contains(got, "1 applied") || !strings.Contains(got, c.want) {
			t.Errorf("%s: the log of events: %s", c.what, got)
		}
	}
}
