package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/server/door"
)

// usualKeepalive is that of a node that says nothing of it.
var usualKeepalive = Keepalive{defaultKeepaliveMinTime, defaultKeepaliveInterval, defaultKeepaliveTimeout}

// inn is a port with a place for one connection: it answers a health check, and all else with a large message or a
// word.
type inn struct {
	street   *bufconn.Listener
	door     *door.Door
	both     *sniffer
	client   *grpc.ClientConn
	answered chan bool
	ends     chan func() // what ends a request that is answered
}

const largeAnswer = 1 << 20

func newInn(t *testing.T) *inn { return newInnFor(t, 1) }

// newInnFor is one with so many places.
func newInnFor(t *testing.T, places int) *inn {
	return newInnBehind(t, places, func(l net.Listener) net.Listener { return l })
}

// newInnBehind is one whose connections come by what is made of its listener.
func newInnBehind(t *testing.T, places int, by func(net.Listener) net.Listener) *inn {
	i := &inn{street: bufconn.Listen(1 << 10), answered: make(chan bool, 1), ends: make(chan func(), 1)}
	i.door = door.New(by(punctual{i.street}), door.Options{
		Name: "inn", Most: places, Strangers: places, Logger: slog.New(slog.DiscardHandler),
	})
	i.both = sniff(i.door)
	rpc, methods := newRPCServer(usualKeepalive, grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		switch method, _ := grpc.MethodFromServerStream(s); method {
		case "/a/stream":
			return s.RecvMsg(&wrapperspb.BytesValue{})
		case "/a/echo":
			for m := new(wrapperspb.BytesValue); ; {
				if err := s.RecvMsg(m); err != nil {
					return err
				}
				if err := s.SendMsg(m); err != nil {
					return err
				}
			}
		case "/a/take":
			for m := new(wrapperspb.BytesValue); ; {
				if err := s.RecvMsg(m); errors.Is(err, io.EOF) {
					return s.SendMsg(wrapperspb.Bytes(nil))
				} else if err != nil {
					return err
				}
			}
		case "/a/word":
			return s.SendMsg(wrapperspb.Bytes(nil))
		case "/a/end":
			i.ends <- endOf(s.Context())
			return s.SendMsg(wrapperspb.Bytes(make([]byte, largeAnswer)))
		}
		defer func() { i.answered <- true }()
		return s.SendMsg(wrapperspb.Bytes(make([]byte, largeAnswer)))
	}))
	healthpb.RegisterHealthServer(rpc, health.NewServer())
	methods.know(rpc)
	go rpc.Serve(i.both.grpc)
	t.Cleanup(rpc.Stop)
	var err error
	i.client, err = grpc.NewClient("passthrough:inn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return i.street.DialContext(ctx)
		}), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.client.Close() })
	return i
}

// newcomer says whether there is room for another.
func (i *inn) newcomer(t *testing.T) bool {
	c, err := i.street.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	virtual.Wait()
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	var waits net.Error
	return errors.As(err, &waits) && waits.Timeout()
}

// request begins one and says nothing more.
func (i *inn) request(t *testing.T, method string) grpc.ClientStream {
	s, err := i.client.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// leaves says that the client has a place until it has asked nothing for a while, and comes again then.
func (i *inn) leaves(t *testing.T) {
	t.Helper()
	if virtual.Wait(); i.newcomer(t) {
		t.Error("who has asked a moment ago had to leave")
	}
	time.Sleep(time.Minute)
	if !i.newcomer(t) {
		t.Error("who asks nothing keeps others out")
	}
	if _, err := healthpb.NewHealthClient(i.client).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error("who had to leave does not come again:", err)
	}
}

// Who takes an answer slowly is not idle: though it was given long ago to who sends it.
func TestASlowReaderAsksUntilTheEnd(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInn(t)
		s := i.request(t, "/a/large")
		<-i.answered
		time.Sleep(time.Minute)
		if i.newcomer(t) {
			t.Error("he had to leave in the middle of his answer")
		}
		var answer wrapperspb.BytesValue
		if err := s.RecvMsg(&answer); err != nil || len(answer.Value) != largeAnswer {
			t.Fatalf("%d bytes, %v", len(answer.Value), err)
		}
		s.CloseSend()
		if err := s.RecvMsg(&answer); err == nil {
			t.Fatal("another answer")
		}
		i.leaves(t)
	})
}

// Who sends a request slowly is not idle, though nobody has seen all of it.
func TestASlowWriterAsksFromTheBeginning(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInn(t)
		s := i.request(t, healthpb.Health_Check_FullMethodName)
		time.Sleep(bodyTime - time.Second) // then it would be ended
		if i.newcomer(t) {
			t.Error("he had to leave in the middle of his request")
		}
		if err := errors.Join(s.SendMsg(&healthpb.HealthCheckRequest{}), s.CloseSend()); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(&healthpb.HealthCheckResponse{}); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(&healthpb.HealthCheckResponse{}); err == nil {
			t.Fatal("another answer")
		}
		i.leaves(t)
	})
}

// framesOf are frames without a body: kind, flags, stream.
func framesOf(kinds ...[3]byte) (text []byte) {
	for _, k := range kinds {
		text = append(text, 0, 0, 0, k[0], k[1], 0, 0, 0, k[2])
	}
	return text
}

// A request is under way from its headers to the last frame of its answer or to a reset, however the frames are cut.
func TestRequestsAreUnderWayUntilTheirEnd(t *testing.T) {
	for step := 1; step < 30; step++ {
		s := &sink{}
		c := newLeavable(s, &clients{})
		busy, times := 0, 0
		c.requests.begin = func() func() { busy++; times++; return func() { busy-- } }
		hear := func(text []byte) {
			s.Buffer.Reset()
			s.Buffer.Write(text)
			for s.Buffer.Len() > 0 || len(c.unread) > 0 {
				c.Read(make([]byte, step))
			}
		}
		say := func(text []byte) {
			for len(text) > 0 {
				n := min(step, len(text))
				c.Write(text[:n])
				text = text[n:]
			}
		}
		const messages, part = 20, 11 // what this side ends within a frame
		many := frameOf(frameData, flagPadded, 7, append([]byte{3}, make([]byte, messages*messagePrefix+3)...))
		hear(append(bytes.Clone(preface), framesOf([3]byte{frameSettings}, [3]byte{framePing})...))
		for i, event := range []struct {
			do   func([]byte)
			text []byte
			want bool
		}{
			{hear, framesOf([3]byte{frameHeaders, 0, 1}, [3]byte{frameHeaders, flagEndStream, 3}), true},
			{hear, framesOf([3]byte{frameData, flagEndStream, 1}), true},
			{say, framesOf([3]byte{frameHeaders, 0, 1}, [3]byte{frameData, 0, 1}, [3]byte{framePing, 1, 0}), true},
			{say, framesOf([3]byte{frameHeaders, flagEndStream, 1}), true},
			{say, framesOf([3]byte{frameReset, 0, 3}), false},
			{hear, framesOf([3]byte{frameReset, 0, 3}, [3]byte{framePing}), false},
			{hear, framesOf([3]byte{frameHeaders, 0, 5}), true},
			{hear, framesOf([3]byte{frameReset, 0, 5}), false},
			{hear, framesOf([3]byte{frameHeaders, 0, 7}), true},
			{func(text []byte) { c.requests.opens(true, largeHeaders+1); hear(text) }, many[:len(many)-part], true},
			{say, framesOf([3]byte{frameReset, 0, 7}), false},
			{hear, many[len(many)-part:], false},
			{hear, framesOf([3]byte{frameHeaders, 0, 9}), true}, // the frames are counted still
			{say, framesOf([3]byte{frameHeaders, flagEndStream, 9}), false},
		} {
			if event.do(event.text); (busy == 1) != event.want || busy < 0 {
				t.Fatalf("steps of %d, event %d: %d", step, i, busy)
			}
			if kept := c.requests.bytes.Load(); kept != 0 && busy == 0 {
				t.Fatalf("steps of %d, event %d: of no request %d bytes are kept", step, i, kept)
			}
			if c.requests.end != nil && c.retire() {
				t.Fatal("it retired with requests under way")
			}
		}
		before := times
		if hear(framesOf([3]byte{frameWindow, 0, 0})); times != before+1 || busy != 0 {
			t.Error("who takes what he was sent counts as idle all the time")
		}
	}
}

// lane is a connection with what is said on one side apart from what is said on the other.
type lane struct {
	nowhere
	in, out bytes.Buffer
}

func (l *lane) Read(p []byte) (int, error)  { return l.in.Read(p) }
func (l *lane) Write(p []byte) (int, error) { return l.out.Write(p) }

// Who loses his place while he is just asking is told that this was not dealt with, and it is not, nor what he says
// after it.
func TestWhoIsRetiredIsNotHeard(t *testing.T) {
	s := &lane{}
	c := newLeavable(s, &clients{})
	c.requests.begin = func() func() { return func() {} }
	s.in.Write(append(bytes.Clone(preface), framesOf([3]byte{frameHeaders, flagEndStream, 7})...))
	for s.in.Len() > 0 {
		if _, err := c.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	if c.retire() {
		t.Fatal("it retired with a request under way")
	}
	c.Write(framesOf([3]byte{frameHeaders, flagEndStream | flagEndHeaders, 7}))
	s.out.Reset()
	if !c.retire() {
		t.Fatal("it does not retire")
	}
	for id := range byte(100) {
		s.in.Write(framesOf([3]byte{frameHeaders, flagEndStream, 9 + 2*id}))
	}
	if n, err := c.Read(make([]byte, 64)); n != 0 || !errors.Is(err, net.ErrClosed) || s.in.Len() > 0 {
		t.Errorf("%d bytes, %v, and %d were left", n, err, s.in.Len())
	}
	c.farewell()
	want := bytes.Clone(goAway)
	binary.BigEndian.PutUint32(want[goAwayLast:], 7)
	if got := s.out.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("told %x, want %x", got, want)
	}
}

// Whoever begins a request in the moment in which he is told to leave can say so, and hears that it was not dealt with:
// a client of gRPC sends it anew by itself then, also a write. A connection that was closed under it would be an error.
func TestWhatCrossesAFarewellIsHeard(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInn(t)
		c, err := i.street.DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		heard := make(chan []byte, 1)
		go func() {
			text, _ := io.ReadAll(c)
			heard <- text
		}()
		say := func(text []byte) {
			t.Helper()
			if _, err := c.Write(text); err != nil {
				t.Fatal("it is closed under who speaks:", err)
			}
			virtual.Wait()
		}
		say(append(bytes.Clone(preface), framesOf([3]byte{frameSettings})...))
		time.Sleep(time.Minute)
		if !i.newcomer(t) {
			t.Fatal("who asks nothing keeps others out")
		}
		for id := byte(1); id < 9; id += 2 { // he has not read yet that he is to leave
			say(framesOf([3]byte{frameHeaders, flagEndHeaders | flagEndStream, id}))
		}
		time.Sleep(time.Minute)
		want := bytes.Clone(goAway)
		binary.BigEndian.PutUint32(want[goAwayLast:], 0)
		if text := <-heard; !bytes.HasSuffix(text, want) {
			t.Errorf("heard %x, without %x at its end", text, want)
		}
	})
}

// Clients that write all the time, with pauses in which their places are taken, get an answer to each write.
func TestWritesThatCrossAFarewell(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInn(t)
		check := healthpb.NewHealthClient(i.client)
		for n := range 50 {
			if _, err := check.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
				t.Fatalf("request %d: %v", n, err)
			}
			time.Sleep(time.Minute)
			var both sync.WaitGroup
			both.Go(func() {
				if _, err := check.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
					t.Errorf("request %d, which crossed a farewell: %v", n, err)
				}
			})
			both.Go(func() {
				if c, err := i.street.DialContext(t.Context()); err == nil {
					c.Close()
				}
			})
			both.Wait()
		}
	})
}

// Who was answered once, and only says windows since then, keeps nobody out.
func TestWindowsAloneHoldNoPlace(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInn(t)
		s := i.speak(t)
		s.say(headersOf(1, healthpb.Health_Check_FullMethodName), dataOf(1, 0, 0),
			frameOf(frameData, flagEndStream, 1, nil))
		if virtual.Wait(); s.over() != 1 {
			t.Fatal("not answered")
		}
		for range 8 {
			time.Sleep(9 * time.Second)
			s.say(windowOf(0, 1))
			virtual.Wait()
		}
		if !i.newcomer(t) {
			t.Error("who only says windows keeps others out")
		}
	})
}
