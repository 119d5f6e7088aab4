package grpctransport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

const service = "echo/1"

func echo(_ context.Context, s transport.Stream) error {
	for {
		p, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(p); err != nil {
			return err
		}
	}
}

// pipes connects gRPC transports inside a bubble.
type pipes struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	wrap      func(net.Conn) net.Conn // of dialled connections, may be nil
}

func (p *pipes) dial(ctx context.Context, addr string) (net.Conn, error) {
	p.mu.Lock()
	l, wrap := p.listeners[addr], p.wrap
	p.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("nobody listens at %s", addr)
	}
	c, err := l.DialContext(ctx)
	if err == nil && wrap != nil {
		c = wrap(c)
	}
	return c, err
}

func (p *pipes) node(t *testing.T, addr string, change func(*grpctransport.Options)) transport.Transport {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	p.mu.Lock()
	p.listeners[addr] = l
	p.mu.Unlock()
	o := grpctransport.Options{Listener: l, FleetID: "fleet", NodeName: addr, Region: "us", Dialer: p.dial}
	if change != nil {
		change(&o)
	}
	tr, err := grpctransport.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func newPipes() *pipes { return &pipes{listeners: make(map[string]*bufconn.Listener)} }

// both runs f over each implementation, in a bubble, with the transports at "a" and "b".
func both(t *testing.T, f func(t *testing.T, a, b transport.Transport)) {
	t.Helper()
	run := func(name string, make func(t *testing.T, addr string) transport.Transport) {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				a, b := make(t, "a"), make(t, "b")
				f(t, a, b)
				if err := errors.Join(a.Close(), b.Close(), a.Close()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
	var n *memory.Network
	run("memory", func(t *testing.T, addr string) transport.Transport {
		if addr == "a" {
			n = memory.NewNetwork(clock.Real, 1)
		}
		return n.Node(addr)
	})
	var p *pipes
	run("grpc", func(t *testing.T, addr string) transport.Transport {
		if addr == "a" {
			p = newPipes()
		}
		return p.node(t, addr, nil)
	})
}

func serve(t *testing.T, tr transport.Transport, h transport.Handler) {
	t.Helper()
	if err := tr.Serve(map[string]transport.Handler{service: h}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, ctx context.Context, from transport.Transport, addr, service string) transport.Stream {
	t.Helper()
	s, err := from.Open(ctx, addr, service)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMessagesArriveUnchangedAndInOrder(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		serve(t, b, echo)
		s := open(t, t.Context(), a, "b", service)
		sizes := []int{0, 1, 100, 16 << 10, 70_000, 3 << 20}
		go func() {
			for i, n := range sizes {
				if err := s.Send(bytes.Repeat([]byte{byte(i)}, n)); err != nil {
					t.Error(err)
				}
			}
			s.CloseSend()
		}()
		for i, n := range sizes {
			p, err := s.Recv()
			if err != nil || !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, n)) {
				t.Fatalf("message %d: %d bytes, %v", i, len(p), err)
			}
		}
		for range 2 {
			if _, err := s.Recv(); err != io.EOF {
				t.Fatalf("the end: %v", err)
			}
		}
		if err := s.Send(nil); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("Send after the end: %v", err)
		}
		if s.Context().Err() == nil || s.Peer() != "b" {
			t.Fatal(s.Context().Err(), s.Peer())
		}
	})
}

func TestHandlersErrorReachesTheOpener(t *testing.T) {
	for _, test := range []struct{ give, want error }{
		{errors.New("no such slot"), transport.ErrRemote},
		{fmt.Errorf("wrapped: %w", transport.ErrTooLarge), transport.ErrTooLarge},
		{fmt.Errorf("relay: %w", transport.ErrUnreachable), transport.ErrUnreachable},
		{fmt.Errorf("a peer said: %w", transport.AsRemote(transport.ErrRemoved)), transport.ErrRemote},
		{context.Canceled, transport.ErrRemote},
		{io.EOF, transport.ErrRemote},
	} {
		both(t, func(t *testing.T, a, b transport.Transport) {
			serve(t, b, func(_ context.Context, s transport.Stream) error {
				s.Send([]byte("before"))
				return test.give
			})
			s := open(t, t.Context(), a, "b", service)
			if p, err := s.Recv(); string(p) != "before" {
				t.Fatalf("%q, %v", p, err)
			}
			for range 2 {
				_, err := s.Recv()
				if want := "transport: peer reported: " + test.give.Error(); !errors.Is(err, test.want) ||
					err.Error() != want {
					t.Fatalf("%v arrives as %v", test.give, err)
				}
			}
		})
	}
}

// In which trace the opener acts is in the context of the handler, and in no other stream's.
func TestTheTraceReachesTheHandler(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		serve(t, b, func(ctx context.Context, s transport.Stream) error {
			return s.Send([]byte(transport.Traceparent(ctx)))
		})
		const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		for _, c := range []struct{ given, want string }{
			{trace, trace}, {"", ""}, {strings.Repeat("x", 1<<10), ""},
		} {
			s := open(t, transport.WithTraceparent(t.Context(), c.given), a, "b", service)
			if got, err := s.Recv(); err != nil || string(got) != c.want {
				t.Errorf("%.60q arrives as %q, %v", c.given, got, err)
			}
		}
	})
}

func TestUnknownServiceAndUnreachablePeer(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		serve(t, b, echo)
		s := open(t, t.Context(), a, "b", "other/2")
		if _, err := s.Recv(); !errors.Is(err, transport.ErrNoService) {
			t.Fatal(err)
		}
		s, err := a.Open(t.Context(), "nowhere", service)
		if err == nil {
			_, err = s.Recv()
		}
		if !errors.Is(err, transport.ErrUnreachable) {
			t.Fatal(err)
		}
	})
}

func TestCancelEndsBothSides(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		ended := make(chan error, 1)
		serve(t, b, func(ctx context.Context, s transport.Stream) error {
			_, err := s.Recv()
			<-ctx.Done()
			ended <- err
			return err
		})
		ctx, cancel := context.WithCancel(t.Context())
		s := open(t, ctx, a, "b", service)
		virtual.Wait()
		cancel()
		if _, err := s.Recv(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := s.Send(nil); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, transport.ErrUnreachable) {
			t.Fatal(err)
		}
		if _, err := a.Open(ctx, "b", service); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestCloseEndsStreamsOnBothSides(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		ended := make(chan error, 1)
		serve(t, b, func(_ context.Context, s transport.Stream) error {
			_, err := s.Recv()
			ended <- err
			return err
		})
		s := open(t, t.Context(), a, "b", service)
		virtual.Wait()
		b.Close()
		if err := <-ended; !errors.Is(err, transport.ErrClosed) {
			t.Fatalf("handler: %v", err)
		}
		if _, err := s.Recv(); !errors.Is(err, transport.ErrUnreachable) && !errors.Is(err, transport.ErrClosed) {
			t.Fatalf("opener: %v", err)
		}
		if _, err := b.Open(t.Context(), "a", service); !errors.Is(err, transport.ErrClosed) {
			t.Fatal(err)
		}
		if err := b.Serve(nil); !errors.Is(err, transport.ErrClosed) {
			t.Fatal(err)
		}
	})
}

func TestClosingTheOpenersTransport(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		ended := make(chan error, 1)
		serve(t, b, func(_ context.Context, s transport.Stream) error {
			_, err := s.Recv()
			ended <- err
			return err
		})
		s := open(t, t.Context(), a, "b", service)
		virtual.Wait()
		a.Close()
		if _, err := s.Recv(); !errors.Is(err, transport.ErrClosed) {
			t.Fatalf("opener: %v", err)
		}
		if err := <-ended; !errors.Is(err, transport.ErrUnreachable) {
			t.Fatalf("handler: %v", err)
		}
	})
}

func TestMessagesOverTheLimitAreRefused(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		serve(t, b, echo)
		s := open(t, t.Context(), a, "b", service)
		if err := s.Send(make([]byte, transport.MaxMessageBytes+1)); !errors.Is(err, transport.ErrTooLarge) {
			t.Fatal(err)
		}
		if err := s.Send([]byte("the stream goes on")); err != nil {
			t.Fatal(err)
		}
		if p, err := s.Recv(); err != nil || string(p) != "the stream goes on" {
			t.Fatalf("%q, %v", p, err)
		}
	})
}

func TestFlowControlBlocksAndGoesOn(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		gate := make(chan struct{})
		const total, size = 48, 1 << 20 // more than any window
		serve(t, b, func(_ context.Context, s transport.Stream) error {
			<-gate
			for range total {
				if _, err := s.Recv(); err != nil {
					return err
				}
			}
			return nil
		})
		s := open(t, t.Context(), a, "b", service)
		sent := make(chan struct{}, total)
		go func() {
			for range total {
				if err := s.Send(make([]byte, size)); err != nil {
					t.Error(err)
				}
				sent <- struct{}{}
			}
		}()
		virtual.Wait()
		if n := len(sent); n == 0 || n*size > 2*grpctransport.DefaultWindowBytes {
			t.Fatalf("%d MiB were sent to a peer that does not read", n)
		}
		close(gate)
		if _, err := s.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		virtual.Wait()
		if len(sent) != total {
			t.Fatalf("%d messages sent", len(sent))
		}
	})
}

func TestServeTwice(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		serve(t, b, echo)
		if err := b.Serve(nil); err == nil {
			t.Fatal("served twice")
		}
	})
}

func TestCloseWaitsForHandlers(t *testing.T) {
	both(t, func(t *testing.T, a, b transport.Transport) {
		returned := false
		serve(t, b, func(ctx context.Context, s transport.Stream) error {
			<-ctx.Done()
			time.Sleep(time.Second) // virtual: a handler that has something to put in order
			returned = true
			return nil
		})
		open(t, t.Context(), a, "b", service)
		virtual.Wait()
		b.Close()
		if !returned {
			t.Fatal("a handler still runs after Close")
		}
	})
}

// Renewed connections: what is open goes on for as long as it is let, and knows that it is to leave.
func TestRenew(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := newPipes()
		var dialled int
		p.wrap = func(c net.Conn) net.Conn { dialled++; return c }
		a, b := p.node(t, "a", nil), p.node(t, "b", nil)
		serve(t, b, echo)
		said := func(s transport.Stream) error {
			if err := s.Send([]byte("x")); err != nil {
				return err
			}
			_, err := s.Recv()
			return err
		}
		before := open(t, t.Context(), a, "b", service)
		if err := said(before); err != nil {
			t.Fatal(err)
		}
		select {
		case <-transport.Leaving(before):
			t.Fatal("it leaves for no reason")
		default:
		}
		end := a.(grpctransport.Renewer).Renew()
		<-transport.Leaving(before)
		after := open(t, t.Context(), a, "b", service)
		if err := errors.Join(said(before), said(after)); err != nil || dialled != 2 {
			t.Fatalf("%v, %d connections", err, dialled)
		}
		end()
		if said(before) == nil {
			t.Error("the former connection stands")
		}
		if err := said(after); err != nil {
			t.Error(err)
		}
		a.(grpctransport.Renewer).Renew() // and nobody says when they have to end
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
		a.(grpctransport.Renewer).Renew()()
	})
}
