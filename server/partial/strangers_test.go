package partial

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mimir-kv/mimir/replication/clock"
)

// A secret that is exchanged for one of the same length holds, whatever time the file says that it is of.
func TestAnExchangedSecretHolds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "partial")
	other := strings.ToUpper(secret)
	write := func(secret string) {
		if err := os.WriteFile(file, []byte("edge "+secret+" /a/\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	write(secret)
	r, err := OpenRegions(file, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	write(other)
	r.turn.Looked(time.Time{})
	for s, may := range map[string]bool{secret: false, other: true} {
		_, err := r.admit(&ask{Region: "edge", Secret: s, Prefixes: prefixes(t, "/a/")})
		if (err == nil) != may {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.turn.Looked(time.Time{})
	if known := r.Known(); len(known) != 1 || r.Problem() == "" {
		t.Errorf("a file that is gone: %d regions, and %q", len(known), r.Problem())
	}
}

// Who does not show the secret is told nothing of the node.
func TestAStrangerIsToldNothing(t *testing.T) {
	w := startWhole(t, "us-1")
	for _, q := range []ask{{Fleet: "g"}, {Fleet: "f"}, {Fleet: "f", Secret: strings.ToUpper(secret)}} {
		q.Prefixes = prefixes(t, "/b/")
		_, _, err := receive(w.follow(q))
		if err == nil || !strings.Contains(err.Error(), errStranger.Error()) ||
			strings.Contains(err.Error(), "fleet f") || strings.Contains(err.Error(), "/a/") {
			t.Errorf("%+v: %v", q, err)
		}
	}
	_, _, err := receive(w.follow(ask{Fleet: "g", Secret: secret, Prefixes: prefixes(t, "/a/", "/c/")}))
	if err == nil || !strings.Contains(err.Error(), "this node is of fleet f") {
		t.Errorf("who knows the secret: %v", err)
	}
}

// However many requests of clients are under way, what follows is not kept out by them: on one connection a node takes
// so many at a time.
func TestWhatFollowsHasAWayOfItsOwn(t *testing.T) {
	w := startWhole(t, "us-1")
	w.options = []grpc.ServerOption{grpc.MaxConcurrentStreams(1)}
	w.serve("127.0.0.1:0")
	w.write(put("/a/x", "1"))
	e := startEdge(t, t.TempDir(), w.addr)
	e.holds(w)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	err := e.Links.Now().Invoke(ctx, "/none/None", wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
	if err == nil || !strings.Contains(err.Error(), "Unimplemented") {
		t.Error(err)
	}
}

// suspended is a clock of a machine that can be suspended.
type suspended struct {
	clock.Clock
	slept atomic.Int64
}

// Elapsed implements clock.Clock.
func (s *suspended) Elapsed() time.Duration { return s.Clock.Elapsed() + time.Duration(s.slept.Load()) }

// What is held ages while the machine is suspended.
func TestALagCountsWhileSuspended(t *testing.T) {
	w := startWhole(t, "us-1")
	w.write(put("/a/x", "1"))
	machine := &suspended{Clock: clock.Real}
	e := startEdgeWith(t, t.TempDir(), func(s *Sink) { s.Clock = machine }, w.addr)
	until(t, "it knows how far it is", func() bool { return e.Standing().LagSeconds >= 0 })
	w.stop()
	until(t, "it follows nobody", func() bool { return !e.Connected() })
	machine.slept.Store(int64(time.Hour))
	if lag := e.Standing().LagSeconds; lag < 3600 {
		t.Errorf("%f s", lag)
	}
}

// A node whose connection was cut, and that came anew, is told once; two that were named alike are told both.
func TestANodeThatCameAnewIsToldOnce(t *testing.T) {
	w := startWhole(t, "us-1")
	q := &ask{Region: "edge", Node: "e1"}
	before := w.sessions.begin(q)
	w.sessions.begin(q)
	w.sessions.begin(&ask{Region: "edge", Node: "e2"})
	if n := len(w.Report()[0].Nodes); n != 3 {
		t.Errorf("%d", n)
	}
	before.heard = before.heard.Add(-2 * silence)
	if n := len(w.Report()[0].Nodes); n != 2 {
		t.Errorf("%d", n)
	}
}
