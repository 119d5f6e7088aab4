package partial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/command"
)

// kill has a directory look as after the end of a process that did not stop in good order.
func kill(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, placeFile)
	text, err := os.ReadFile(path)
	id := map[string]any{}
	if err == nil {
		err = json.Unmarshal(text, &id)
	}
	delete(id, "stopped")
	delete(id, "sum") // as a version before wrote it
	if err == nil {
		text, err = json.Marshal(id)
	}
	if err = errors.Join(err, os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A stop in good order of a process that showed nothing does not make the next one show what may be older than what was
// shown before.
func TestAStopDoesNotMakeItShow(t *testing.T) {
	w, dir := startWhole(t, "us-1"), t.TempDir()
	w.write(put("/a/x", "1"))
	e := startEdge(t, dir, w.addr)
	e.holds(w)
	e.stop()
	kill(t, dir)
	w.say(&w.unfit, errors.New("not now"))
	for range 2 {
		e = startEdge(t, dir, w.addr)
		if s := e.Standing(); s.Shows {
			t.Fatalf("it shows what it holds: %+v", s)
		}
		e.stop()
	}
	w.say(&w.unfit, nil)
	startEdge(t, dir, w.addr).holds(w)
}

// What a failover cut off is not shown after a start either, and does not lead on.
func TestWhatPartedIsNotShownAfterAStart(t *testing.T) {
	old, next, dir := startWhole(t, "us-1"), startWhole(t, "eu-1"), t.TempDir()
	for _, w := range []*whole{old, next} {
		w.write(put("/a/x", "1"))
	}
	old.write(put("/a/x", "lost"), put("/a/lost", "1"))
	var held atomic.Bool
	e := startEdgeWith(t, dir, func(s *Sink) {
		s.Secret = func() (string, error) { // no session begins once it has found out
			if held.Load() && !s.Standing().Shows {
				return "", errors.New("no secret")
			}
			return secret, nil
		}
	}, old.addr, next.addr)
	e.holds(old)
	held.Store(true)
	next.FailOver(t, 2, 1)
	next.write(put("/a/x", "2"))
	old.stop()
	until(t, "it shows nothing", func() bool { return !e.Standing().Shows })
	e.stop()
	next.say(&next.unfit, errors.New("not now"))
	e = startEdge(t, dir, next.addr)
	if s := e.Standing(); s.Shows {
		t.Fatalf("it shows what was cut off: %+v", s)
	}
	next.say(&next.unfit, nil)
	e.holds(next)
	if s := e.Standing(); s.Copies != 1 {
		t.Errorf("it took %d copies", s.Copies)
	}
	e.stop()
	if e = startEdge(t, dir, next.addr); !e.Standing().Shows {
		t.Error("after a stop in good order it does not show the copy")
	}
}

// A copy that is older than what was shown is not taken.
func TestACopyIsNotOlderThanWhatWasShown(t *testing.T) {
	ahead, behind, dir := startWhole(t, "us-1"), startWhole(t, "us-2"), t.TempDir()
	for _, w := range []*whole{ahead, behind} {
		w.write(put("/a/x", "1"))
	}
	ahead.write(put("/a/x", "2"))
	e := startEdge(t, dir, ahead.addr)
	e.holds(ahead)
	held := e.Standing().Revision
	e.stop()
	ahead.write(put("/a/x", "3"), put("/a/x", "4"))
	ahead.write(command.EncodeCompaction(&pb.CompactionRequest{Revision: ahead.Node.Store.Revision()}))
	began := 0
	e = startEdgeWith(t, dir, func(s *Sink) {
		s.Secret = func() (string, error) {
			if began++; began == 2 { // what it holds does not lead on, as it was told
				ahead.stop()
			}
			return secret, nil
		}
	}, ahead.addr, behind.addr)
	until(t, "it was offered an older copy", func() bool {
		s := e.Standing()
		return s.Copies > 0 || strings.Contains(s.Problem, "older than what was here")
	})
	if s := e.Standing(); s.Revision < held || !s.Shows {
		t.Errorf("it showed revision %d: %+v", held, s)
	}
	behind.write(put("/a/x", "2"), put("/a/x", "3"), put("/a/x", "4"))
	e.holds(behind)
}

// A node that does not know what the fleet has may have less than what was shown: nothing of it is shown at first.
func TestWhatMayBeOldIsNotShownAtFirst(t *testing.T) {
	w := startWhole(t, "us-1")
	w.say(&w.barrier, errors.New("no primary"))
	w.write(put("/a/x", "1"))
	e := startEdge(t, t.TempDir(), w.addr)
	until(t, "a copy is here", func() bool { return e.Standing().Copies == 1 })
	w.write(put("/a/x", "2"))
	at := w.Node.Store.Revision()
	until(t, "what comes behind it is here", func() bool { return e.Standing().Revision == at })
	if s := e.Standing(); s.Shows || s.Problem == "" {
		t.Errorf("it shows %t, since %q", s.Shows, s.Problem)
	}
	w.say(&w.barrier, nil)
	e.holds(w)
}

// follow follows a node in a way of its own.
func (w *whole) follow(q ask) grpc.ClientStream {
	w.t.Helper()
	conn, err := grpc.NewClient(w.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(w.t.Context(), hang)
	w.t.Cleanup(cancel)
	s, err := conn.NewStream(ctx, &desc, Method)
	if err == nil {
		q.Version, q.Region, q.Node = wireVersion, "edge", "e1"
		err = send(s, isAsk, q)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// A copy ends when the line of the file is gone.
func TestACopyEndsWithTheRight(t *testing.T) {
	w := startWhole(t, "us-1")
	const values, size = 64, 256 << 10
	for i := range values {
		w.write(put(fmt.Sprint("/a/", i), strings.Repeat("x", size)))
	}
	s := w.follow(ask{Fleet: "f", Secret: secret, Prefixes: prefixes(t, "/a/", "/c/")})
	sent, revoked := 0, false
	for {
		kind, body, err := receive(s)
		if err != nil {
			if status.Code(err) != codes.PermissionDenied || sent > values*size/2 {
				t.Errorf("it ends after %d bytes: %v", sent, err)
			}
			return
		}
		if kind == isState {
			t.Fatal("the copy is whole")
		}
		if kind == isChanges {
			sent += len(body)
		}
		if sent > 0 && !revoked {
			revoked = true
			if err := os.WriteFile(w.Regions.file, []byte("# nobody\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.Regions.turn.Looked(time.Time{})
		}
	}
}

// Who asks for sums over and over has no more than one made for him, and holds up nobody else.
func TestSumsAreMadeOneByOne(t *testing.T) {
	w := startWhole(t, "us-1")
	w.write(put("/a/x", "1"))
	at := w.Node.Store.Revision()
	if err := w.sums.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s := w.follow(ask{Fleet: "f", Secret: secret, Prefixes: prefixes(t, "/a/", "/c/")})
	before := runtime.NumGoroutine()
	const notes = 1000
	for i := range int64(notes) {
		if err := send(s, isNote, note{ID: uint64(i), Revision: i, SumAt: at}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all notes are there", func() bool {
		r := w.Report()[0].Nodes
		return len(r) == 1 && r[0].Revision == notes-1
	})
	if n := runtime.NumGoroutine() - before; n > notes/10 {
		t.Errorf("%d more goroutines", n)
	}
	w.sums.Release(1)
}
