package memory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/transport"
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

// pair runs f in a bubble with the nodes a and b. f gives b its handler, so that all channels are of the bubble.
func pair(t *testing.T, f func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler))) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		a, b := n.Node("a"), n.Node("b")
		f(t, n, a, func(h transport.Handler) {
			if err := b.Serve(map[string]transport.Handler{service: h}); err != nil {
				t.Fatal(err)
			}
		})
		a.Close()
		b.Close()
	})
}

func open(t *testing.T, from transport.Transport, addr string) transport.Stream {
	t.Helper()
	s, err := from.Open(t.Context(), addr, service)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMessagesArriveInOrderAfterTheDelay(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		serve(echo)
		n.SetDelay("a", "b", 40*time.Millisecond, 30*time.Millisecond)
		start := time.Now()
		s := open(t, a, "b")
		for i := range 100 {
			if err := s.Send(fmt.Appendf(nil, "%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			p, err := s.Recv()
			if err != nil || string(p) != fmt.Sprint(i) {
				t.Fatalf("message %d: %q, %v", i, p, err)
			}
			if d := time.Since(start); d < 80*time.Millisecond || d > 140*time.Millisecond {
				t.Fatalf("message %d arrived after %v", i, d)
			}
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Fatalf("end: %v", err)
		}
	})
}

func TestShortCutDelaysAndLosesNothing(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		serve(echo)
		n.SetDelay("a", "b", 10*time.Millisecond, 0)
		s := open(t, a, "b")
		s.Send([]byte("before"))
		time.Sleep(5 * time.Millisecond)
		n.Cut("a", "b")
		s.Send([]byte("during"))
		time.AfterFunc(4*time.Second, n.HealAll)
		for _, want := range []string{"before", "during"} {
			if p, err := s.Recv(); err != nil || string(p) != want {
				t.Fatalf("%q, %v; want %q", p, err, want)
			}
		}
	})
}

func TestLongCutBreaksBothSidesAfterDetection(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		handlerErr := make(chan error, 1)
		handler := func(ctx context.Context, s transport.Stream) error {
			_, err := s.Recv()
			handlerErr <- err
			return err
		}
		serve(handler)
		s := open(t, a, "b")
		virtual.Wait()
		start := time.Now()
		n.Cut("b", "a")
		if _, err := s.Recv(); !errors.Is(err, transport.ErrUnreachable) {
			t.Fatalf("opener: %v", err)
		}
		if err := <-handlerErr; !errors.Is(err, transport.ErrUnreachable) {
			t.Fatalf("handler: %v", err)
		}
		if d := time.Since(start); d != memory.DefaultDetection {
			t.Fatalf("noticed after %v", d)
		}
		if s.Context().Err() == nil {
			t.Fatal("context still open")
		}
		n.HealAll()
		if s := open(t, a, "b"); s.Send(nil) != nil {
			t.Fatal("a healed link refuses a new stream")
		}
	})
}

func TestOneWayCutDeliversTheOtherWay(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		got := make(chan string, 1)
		handler := func(ctx context.Context, s transport.Stream) error {
			p, err := s.Recv()
			got <- string(p)
			s.Send([]byte("answer"))
			<-ctx.Done()
			return err
		}
		serve(handler)
		n.CutOneWay("b", "a")
		s := open(t, a, "b")
		s.Send([]byte("question"))
		if p := <-got; p != "question" {
			t.Fatalf("handler got %q", p)
		}
		if p, err := s.Recv(); !errors.Is(err, transport.ErrUnreachable) {
			t.Fatalf("%q, %v", p, err)
		}
	})
}

func TestGroupsAndIsolation(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		n.SetGroups(func(addr string) string { return addr[:2] })
		n.SetDelay("us", "eu", time.Second, 0)
		n.SetDelay("us-1", "eu-2", 2*time.Second, 0)
		nodes := map[string]transport.Transport{}
		for _, addr := range []string{"us-1", "us-2", "eu-1", "eu-2"} {
			nodes[addr] = n.Node(addr)
			nodes[addr].Serve(map[string]transport.Handler{service: echo})
			defer nodes[addr].Close()
		}
		trip := func(from, to string) (time.Duration, error) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			start := time.Now()
			s, err := nodes[from].Open(ctx, to, service)
			if err != nil {
				t.Fatal(err)
			}
			s.Send([]byte("x"))
			_, err = s.Recv()
			return time.Since(start), err
		}
		check := func(from, to string, want time.Duration, reachable bool) {
			t.Helper()
			if d, err := trip(from, to); d != want || (err == nil) != reachable {
				t.Fatalf("%s to %s: %v, %v; want %v, reachable %v", from, to, d, err, want, reachable)
			}
		}
		check("us-1", "us-2", 0, true)
		check("us-1", "eu-1", 2*time.Second, true)
		check("eu-2", "us-1", 4*time.Second, true)
		n.Cut("us", "eu")
		check("us-1", "eu-1", memory.DefaultDetection, false)
		check("us-1", "us-2", 0, true)
		n.Heal("us", "eu")
		check("us-1", "eu-1", 2*time.Second, true)
		n.Isolate("us-2")
		check("us-1", "us-2", memory.DefaultDetection, false)
		check("us-2", "us-2", 0, true)
		n.Reconnect("us-2")
		n.Isolate("us")
		check("us-1", "us-2", 0, true)
		check("eu-1", "us-2", memory.DefaultDetection, false)
	})
}

func TestSendBlocksWhileTheWindowIsFull(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		read := make(chan struct{})
		handler := func(ctx context.Context, s transport.Stream) error {
			for range read {
				if _, err := s.Recv(); err != nil {
					return err
				}
			}
			return nil
		}
		serve(handler)
		n.SetWindow(1000)
		s := open(t, a, "b")
		sent := make(chan int, 100)
		go func() {
			for i := range 5 {
				if s.Send(make([]byte, 500)) != nil {
					return
				}
				sent <- i
			}
			close(sent)
		}()
		virtual.Wait()
		if len(sent) != 2 {
			t.Fatalf("%d messages of half a window fit", len(sent))
		}
		read <- struct{}{}
		virtual.Wait()
		if len(sent) != 3 {
			t.Fatalf("%d messages sent after one was read", len(sent))
		}
		close(read)
		if _, err := s.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		virtual.Wait()
		if _, err := s.Recv(); err != io.EOF {
			t.Fatal("the end is not final")
		}
	})
}

func TestCrashBreaksStreamsAndFreesTheAddress(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		a, b := n.Node("a"), n.Node("b")
		defer a.Close()
		b.Serve(map[string]transport.Handler{service: echo})

		s := open(t, a, "b")
		s.Send([]byte("x"))
		s.Recv()
		n.Crash("b")
		if _, err := s.Recv(); !errors.Is(err, transport.ErrUnreachable) {
			t.Fatal(err)
		}
		if _, err := a.Open(t.Context(), "b", service); !errors.Is(err, transport.ErrUnreachable) {
			t.Fatal(err)
		}
		if _, err := b.Open(t.Context(), "a", service); !errors.Is(err, transport.ErrClosed) {
			t.Fatal(err)
		}
		again := n.Node("b")
		again.Serve(map[string]transport.Handler{service: echo})
		s = open(t, a, "b")
		s.Send([]byte("y"))
		if p, err := s.Recv(); err != nil || string(p) != "y" {
			t.Fatalf("%q, %v", p, err)
		}
		n.Crash("b")
	})
}

func TestCancelledOpenerEndsTheHandler(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		ended := make(chan time.Time, 1)
		handler := func(ctx context.Context, s transport.Stream) error {
			<-ctx.Done()
			ended <- time.Now()
			return nil
		}
		serve(handler)
		n.SetDelay("a", "b", 20*time.Millisecond, 0)
		ctx, cancel := context.WithCancel(t.Context())
		s, err := a.Open(ctx, "b", service)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		start := time.Now()
		cancel()
		if _, err := s.Recv(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if d := (<-ended).Sub(start); d != 20*time.Millisecond {
			t.Fatalf("handler ended after %v", d)
		}
	})
}

// Nothing waits for the way to a node that is not there: the bubble would not end.
func TestNobodyBehindACutIsToldOfNothing(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		a := n.Node("a")
		n.SetDelay("a", "b", time.Second, 0)
		n.Cut("a", "b")
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := a.Open(ctx, "b", service); err != nil {
			t.Fatal(err)
		}
		n.HealAll()
		cancel()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestErrorsOfHandlers(t *testing.T) {
	for _, test := range []struct{ give, want error }{
		{nil, io.EOF},
		{errors.New("no such slot"), transport.ErrRemote},
		{fmt.Errorf("wrapped: %w", transport.ErrTooLarge), transport.ErrTooLarge},
	} {
		pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
			serve(func(context.Context, transport.Stream) error { return test.give })
			s := open(t, a, "b")
			if _, err := s.Recv(); !errors.Is(err, test.want) {
				t.Errorf("%v arrives as %v", test.give, err)
			}
			s, _ = a.Open(t.Context(), "b", "other/1")
			if _, err := s.Recv(); !errors.Is(err, transport.ErrNoService) {
				t.Errorf("unknown service: %v", err)
			}
		})
	}
}

func TestPoisonShowsReuse(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		serve(echo)
		n.SetPoison(true)
		s := open(t, a, "b")
		p := []byte("mine")
		s.Send(p)
		if string(p) == "mine" {
			t.Fatal("not poisoned")
		}
		if q, err := s.Recv(); err != nil || string(q) != "mine" {
			t.Fatalf("%q, %v", q, err)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	n := memory.NewNetwork(clock.Real, 1)
	x, y := n.Node("a"), n.Node("b")
	defer x.Close()
	defer y.Close()
	y.Serve(map[string]transport.Handler{service: func(_ context.Context, s transport.Stream) error {
		for {
			if _, err := s.Recv(); err != nil {
				return nil
			}
		}
	}})
	s, err := x.Open(b.Context(), "b", service)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Send(p); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCutThatHealsBeforeTheArrivalChangesNothing(t *testing.T) {
	pair(t, func(t *testing.T, n *memory.Network, a transport.Transport, serve func(transport.Handler)) {
		arrived := make(chan time.Time, 1)
		serve(func(_ context.Context, s transport.Stream) error {
			s.Recv()
			arrived <- time.Now()
			return nil
		})
		n.SetDelay("a", "b", 10*time.Millisecond, 0)
		s := open(t, a, "b")
		time.Sleep(time.Second)
		start := time.Now()
		s.Send([]byte("x"))
		time.Sleep(2 * time.Millisecond)
		n.Cut("a", "b")
		time.Sleep(2 * time.Millisecond)
		n.HealAll()
		if d := (<-arrived).Sub(start); d != 10*time.Millisecond {
			t.Fatalf("arrived after %v", d)
		}
	})
}
