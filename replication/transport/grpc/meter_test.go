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
	"giveup": func(_ context.Context, s transport.Stream) error {
		_, err := s.Recv()
		return errors.Join(err, errors.New("no more of this"))
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
	var held []transport.Stream
	for range 40 { // all of one connection: none is cut before somebody sends
		s, err := hoarder.Open(ctx, addr, "hold")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, s)
	}
	var streams sync.WaitGroup
	for _, s := range held {
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

// What a handler leaves unread of a stream is forgotten with the stream, and so is what comes behind its end: a node of
// which many streams were given up is no hoarder, though another stream of the same connection goes on all the time.
func TestWhatIsGivenUpIsNotKept(t *testing.T) {
	log := &lockedLog{}
	server, addr := meteredNode(t, "us-1", func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	if err := server.Serve(meteredServices); err != nil {
		t.Fatal(err)
	}
	honest, _ := meteredNode(t, "us-2", nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	steady, err := honest.Open(ctx, addr, "take")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1<<10)
	for i := range 100 { // 6 times as much as one may have kept
		s, err := honest.Open(ctx, addr, "giveup")
		for err == nil {
			err = s.Send(p)
		}
		if s == nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err == nil || !strings.Contains(err.Error(), "no more of this") {
			t.Fatalf("stream %d ended with %v", i, err)
		}
	}
	if err := steady.Send(p); err != nil {
		t.Fatal(err)
	}
	if _, err := steady.Recv(); err != nil {
		t.Fatal(err)
	}
	if log.String() != "" {
		t.Errorf("the log: %s", log.String())
	}
}

// And what is kept of a stream that its opener cancels is forgotten when the handler has returned.
func TestWhatIsCancelledIsNotKept(t *testing.T) {
	log := &lockedLog{}
	server, addr := meteredNode(t, "us-1", func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	over := make(chan bool, 100)
	services := map[string]transport.Handler{"take": meteredServices["take"], "peek": func(
		ctx context.Context, s transport.Stream,
	) error {
		defer func() { over <- true }()
		if _, err := s.Recv(); err != nil {
			return err
		}
		_ = s.Send([]byte("seen"))
		<-ctx.Done()
		return nil
	}}
	if err := server.Serve(services); err != nil {
		t.Fatal(err)
	}
	honest, _ := meteredNode(t, "us-2", nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	steady, err := honest.Open(ctx, addr, "take")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // 3 times as much as one may have kept
		ctx, cancel := context.WithCancel(ctx)
		s, err := honest.Open(ctx, addr, "peek")
		for _, p := range [][]byte{[]byte("first"), make([]byte, 32<<10)} {
			if err == nil {
				err = s.Send(p)
			}
		}
		if err == nil {
			_, err = s.Recv()
		}
		for range 2 { // streams take turns: when the second of these has come, so has all of the other
			if err == nil {
				err = steady.Send(make([]byte, 32<<10))
			}
			if err == nil {
				_, err = steady.Recv()
			}
		}
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		cancel()
		<-over
	}
	if log.String() != "" {
		t.Errorf("the log: %s", log.String())
	}
}

// Two fleets at one port know nothing of each other: what a node of one has kept is no matter of the other's that has
// its name.
func TestEachFleetHasItsOwnBooks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedLog{}
	port, err := NewPort(PortOptions{
		Options: Options{Listener: l, NodeName: "w", memberBytes: 1 << 20, WindowBytes: 64 << 10,
			Logger: slog.New(slog.NewTextHandler(log, nil))},
		Fleets: map[string]Fleet{"a": {}, "b": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	steady := map[string]transport.Stream{}
	for _, fleet := range []string{"a", "b"} {
		served, err := port.Transport(fleet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { served.Close() })
		if err := served.Serve(meteredServices); err != nil {
			t.Fatal(err)
		}
	}
	port.Serve()
	var kept sync.WaitGroup
	for _, fleet := range []string{"a", "b"} {
		n, _ := meteredNode(t, "us-1", func(o *Options) { o.FleetID = fleet })
		if steady[fleet], err = n.Open(ctx, l.Addr().String(), "take"); err != nil {
			t.Fatal(err)
		}
		for range 12 { // 768 KiB in the books of each
			s, err := n.Open(ctx, l.Addr().String(), "hold")
			if err != nil {
				t.Fatal(err)
			}
			kept.Go(func() { _ = s.Send(make([]byte, 64<<10-5)) })
		}
	}
	kept.Wait()
	p := make([]byte, 32<<10) // streams take turns: when some of these have come, all else has
	for range 100 {
		for fleet, s := range steady {
			if err := s.Send(p); err != nil {
				t.Fatal(fleet, err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatal(fleet, err)
			}
		}
	}
	if log.String() != "" {
		t.Errorf("the log: %s", log.String())
	}
}

// Whoever fills the windows that he was given, of a connection or of a few, is no hoarder.
func TestWhatWindowsAllowIsNoHoard(t *testing.T) {
	for window, want := range map[int32]int64{
		DefaultWindowBytes: memberBytes, 256 << 20: 2 << 30, 1 << 30: 8 << 30,
	} {
		if got := (&Options{WindowBytes: window}).kept(); got != want || got < 4*int64(window) {
			t.Errorf("with windows of %d bytes %d are kept, want %d", window, got, want)
		}
	}
}
