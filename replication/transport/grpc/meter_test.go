package grpctransport

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/transport"
)

type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func meteredNode(t *testing.T, name string, change func(*Options)) (transport.Transport, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Listener: l, FleetID: "fleet", NodeName: name, Region: "us", WindowBytes: 64 << 10,
		memberBytes: 1 << 20}
	if change != nil {
		change(&o)
	}
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, l.Addr().String()
}

// take gives back what it gets, and hold takes nothing.
var meteredServices = map[string]transport.Handler{
	"take": func(_ context.Context, s transport.Stream) error {
		for {
			p, err := s.Recv()
			if err == nil {
				err = s.Send(p[:1])
			}
			if err != nil {
				return nil
			}
		}
	},
	"hold": func(ctx context.Context, _ transport.Stream) error {
		<-ctx.Done()
		return nil
	},
}

// A node whose machine was taken may have others keep so much and no more, by however many streams (of them and of
// connections): the connection that brings more is ended, with a line in the log, and nothing is kept of it. Others go
// on, and so does who sends more than that and has it taken.
func TestANodeCannotHaveOthersKeepAnything(t *testing.T) {
	log := &lockedLog{}
	server, addr := meteredNode(t, "us-1", func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	if err := server.Serve(meteredServices); err != nil {
		t.Fatal(err)
	}
	hoarder, _ := meteredNode(t, "us-2", nil)
	honest, _ := meteredNode(t, "us-3", nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	steady, err := honest.Open(ctx, addr, "take")
	if err != nil {
		t.Fatal(err)
	}
	var streams sync.WaitGroup
	for range 40 {
		s, err := hoarder.Open(ctx, addr, "hold")
		if err != nil {
			break // the connection has ended already
		}
		streams.Go(func() {
			_ = s.Send(make([]byte, 256<<10)) // blocks behind the window
			if _, err := s.Recv(); !errors.Is(err, transport.ErrUnreachable) {
				t.Errorf("a stream ended with %v", err)
			}
		})
	}
	p := make([]byte, 32<<10)
	for range 100 { // three times as much as one may have kept
		if err := steady.Send(p); err != nil {
			t.Fatal(err)
		}
		if _, err := steady.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	streams.Wait()
	if text := log.String(); !strings.Contains(text, "more than is taken of it") ||
		!strings.Contains(text, "node=us-2") || strings.Contains(text, "node=us-3") {
		t.Errorf("the log: %s", text)
	}
}

// The books are even when all have gone: whatever was taken, left, cut or refused.
func TestNothingStaysInTheBooks(t *testing.T) {
	all := &ledgers{logger: slog.New(slog.DiscardHandler), most: 100, of: map[transport.Caller]*ledger{}}
	caller := transport.Caller{Region: "us", Node: "us-1"}
	meterOf := func() *meter { c, _ := net.Pipe(); return &meter{Conn: c, all: all} }
	one, two := meterOf(), meterOf()
	_ = one.add(40) // before it is known whose it is
	endOne, err := one.begin(caller)
	if err != nil {
		t.Fatal(err)
	}
	endTwo, err := two.begin(caller)
	if err != nil {
		t.Fatal(err)
	}
	if err := two.add(61); !errors.Is(err, errHoards) {
		t.Error("two connections of one node, each below its limit:", err)
	}
	one.took(35)
	if err := two.add(20); err != nil {
		t.Error("what was taken counts on:", err)
	}
	two.Close()
	endTwo()
	endOne()
	if one.took(1000); one.bytes != 0 {
		t.Error("who had more taken than he sent has a credit:", one.bytes)
	}
	if len(all.of) != 1 {
		t.Error("an open connection is in no book:", all.of)
	}
	one.Close()
	if len(all.of) != 0 {
		t.Error("left:", all.of)
	}
	three := meterOf()
	for range memberStreams {
		if _, err := three.begin(caller); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := three.begin(caller); !errors.Is(err, transport.ErrUnreachable) {
		t.Error("one stream too many:", err)
	}
}

// Frames are followed wherever what is read ends.
func TestAMeterFollowsFrames(t *testing.T) {
	frame := func(kind byte, n int) []byte {
		return append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, 0, 0, 0, 0, 1}, make([]byte, n)...)
	}
	text := append(make([]byte, prefaceBytes), frame(4, 6)...)
	text = append(text, bytes.Join([][]byte{frame(0, 70000), frame(1, 20), frame(0, 0), frame(0, 5)}, nil)...)
	for step := 1; step < 40; step++ {
		m, sum := &meter{skip: prefaceBytes}, int64(0)
		for rest := text; len(rest) > 0; {
			n := min(step, len(rest))
			sum += m.hear(rest[:n])
			rest = rest[n:]
		}
		if sum != 70005 {
			t.Errorf("in steps of %d: %d bytes", step, sum)
		}
	}
}
