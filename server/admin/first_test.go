package admin

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/events"
)

// Of a tail so much is sent as is wanted, and to have had enough is no failure: nor is it where a node of before sends
// all of it.
func TestTheFirstWritesOfATail(t *testing.T) {
	var log bytes.Buffer
	h := NewHandler(HandlerOptions{
		Replicator: &fake{whole: -1}, Logger: slog.New(slog.NewTextHandler(&log, nil)), States: fakeState{},
		Guard: func(_ string, h http.Handler) http.Handler { return h },
	})
	for most, want := range map[string]int{"": 100, "0": 0, "3": 3, "100": 100, "1000": 100} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/mimir/v1/tails/t?most="+most, http.NoBody))
		if got := strings.Count(w.Body.String(), "\n"); w.Code != http.StatusOK || got != want {
			t.Errorf("most %s: %d, %d writes", most, w.Code, got)
		}
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/mimir/v1/tails/t?most=few", http.NoBody)); w.Code != 400 {
		t.Errorf("few: %d", w.Code)
	}
	if log.Len() > 0 {
		t.Errorf("the log: %s", &log)
	}

	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mimir/v1/node" {
			io.WriteString(w, "{}") //nolint:errcheck // it is there
			return
		}
		r.URL.RawQuery = ""
		h.ServeHTTP(w, r)
	}))
	defer before.Close()
	old, err := NewClient([]string{before.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	for name, c := range map[string]*Client{"now": serve(t, &fake{whole: -1}), "before": old} {
		for most, want := range map[int]int{-1: 0, 0: 0, 3: 3, 100: 100, 1000: 100} {
			writes, err := FirstWrites(t.Context(), c, "t", most)
			if err != nil || writes == nil || len(writes) != want {
				t.Errorf("of a node of %s: %d of %d: %v", name, len(writes), most, err)
			}
		}
		if writes, err := FirstWrites(t.Context(), c, "none", 3); err == nil || len(writes) > 0 {
			t.Errorf("of a node of %s: %d of a tail that is not there", name, len(writes))
		}
	}
}

// What of an order would not be heeded is refused, and nothing is done: whoever bounds a loss is not to lose more.
func TestAnOrderThatContradictsItselfIsRefused(t *testing.T) {
	done := &fake{}
	h := NewHandler(HandlerOptions{
		Replicator: done, Logger: slog.New(slog.DiscardHandler), States: fakeState{},
		Guard: func(_ string, h http.Handler) http.Handler { return h },
	})
	for body, path := range map[string]string{
		`{"to":"eu","force":true,"acceptLoss":7}`:        "failover",
		`{"to":"eu","force":true,"acceptLoss":0}`:        "failover",
		`{"to":"eu","force":true}`:                       "switchover",
		`{"to":"eu","acceptLoss":7}`:                     "switchover",
		`{"to":"eu","at":{"position":7},"acceptLoss":0}`: "failover",
		`{"to":"eu","force":true,"at":{"position":7}}`:   "switchover",
		`{"force":true}`:                                 "failover",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/mimir/v1/"+path, strings.NewReader(body)))
		if w.Code != http.StatusBadRequest || done.moves > 0 {
			t.Errorf("%s %s: %d %s, %d moves", path, body, w.Code, w.Body, done.moves)
		}
	}
}

// ordered is who has the fleet vote, and counts the orders, and those that may take as long as they like.
type ordered struct {
	Voting
	orders, endless int
	within          time.Duration // that the last one had
}

func (o *ordered) count(ctx context.Context) (*replication.Charter, error) {
	o.orders++
	end, ends := ctx.Deadline()
	if !ends {
		o.endless++
	}
	o.within = time.Until(end)
	return &replication.Charter{}, nil
}

func (o *ordered) Enable(ctx context.Context, _ replication.VoteSettings) (*replication.Charter, error) {
	return o.count(ctx)
}

func (o *ordered) Pause(ctx context.Context, _ string) (*replication.Charter, error) {
	return o.count(ctx)
}

func (o *ordered) Hold(ctx context.Context, _ time.Duration) (*replication.Charter, error) {
	return o.count(ctx)
}

func (o *ordered) Change(ctx context.Context, _ replication.VoteChange) (*replication.Charter, error) {
	return o.count(ctx)
}

func (o *ordered) Recover(ctx context.Context, _ string) (*replication.Reign, error) {
	_, err := o.count(ctx)
	return &replication.Reign{}, err
}

func (o *ordered) RecoverAt(ctx context.Context, _ string, _ replication.Point) (*replication.Reign, error) {
	return o.Recover(ctx, "")
}

// noEvents keeps none.
type noEvents struct{}

func (noEvents) Add(replication.Event) {}

func (noEvents) Read(context.Context, events.Question) events.Page { return events.Page{} }

// Whatever is ordered about votes goes on when its caller hangs up, and not for ever.
func TestOrdersAboutVotesEnd(t *testing.T) {
	o := &ordered{}
	h := NewHandler(HandlerOptions{
		Replicator: &fake{}, Voting: o, Logger: slog.New(slog.DiscardHandler), States: fakeState{},
		Events: noEvents{}, Guard: func(_ string, h http.Handler) http.Handler { return h },
	})
	for _, op := range []string{"enable", "pause", "hold", "change", "recover"} {
		before := o.endless
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/mimir/v1/votes/"+op, strings.NewReader("{}")))
		if w.Code != http.StatusOK || o.endless != before {
			t.Errorf("%s: %d, and %d have no end", op, w.Code, o.endless-before)
		}
	}
	if o.orders != 5 {
		t.Errorf("%d orders", o.orders)
	}
}

// promised is a node of a fleet that votes.
type promised struct {
	fake
	votes *replication.VoteStatus
}

func (p *promised) Health() *replication.HealthStatus {
	return &replication.HealthStatus{NodeID: "us-1", Region: "us", Votes: p.votes}
}

// A recovery, which waits until no promise is left, has the time of any order beside that; and who asks can tell how
// long that is.
func TestARecoveryOutlastsTheLease(t *testing.T) {
	const small = time.Minute // of the time that the test itself takes
	for _, test := range []struct {
		votes *replication.VoteStatus
		waits time.Duration
	}{
		{nil, time.Hour}, // the longest that there is
		{&replication.VoteStatus{Lease: 3 * time.Second}, 3 * time.Second},
		{&replication.VoteStatus{Lease: time.Hour}, time.Hour},
		{&replication.VoteStatus{Lease: time.Second, Former: 30 * time.Minute}, 30 * time.Minute},
	} {
		o := &ordered{}
		h := NewHandler(HandlerOptions{
			Replicator: &promised{votes: test.votes}, Voting: o, Logger: slog.New(slog.DiscardHandler),
			States: fakeState{}, Events: noEvents{}, Guard: func(_ string, h http.Handler) http.Handler { return h },
		})
		for _, body := range []string{`{"keep":"us"}`, `{"keep":"us","at":{"position":7}}`} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/mimir/v1/votes/recover", strings.NewReader(body)))
			if o.orders == 0 || o.within < MoveTime+test.waits-small || o.within > RecoveryTime(test.votes) {
				t.Errorf("%+v: %d orders, within %v", test.votes, o.orders, o.within)
			}
		}
	}
}
