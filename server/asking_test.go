package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi/share"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

const putMethod, lockMethod = "/etcdserverpb.KV/Put", "/v3lockpb.Lock/Lock"

// Requests that were taken wait where all together are as large as may be, those of others not for them, and not for
// ever; small ones do not wait.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		a, large := newAsks(), int64(1<<20)
		var leaves []func()
		enters := func(from, method string, bytes int64) error {
			leave, err := a.enter(t.Context(), from, method, bytes)
			if err == nil {
				leaves = append(leaves, leave)
			}
			return err
		}
		for int64(len(leaves)+1)*large <= a.all.Alone() {
			if err := enters("10.0.0.1:1", putMethod, large); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := enters("10.0.0.1:2", putMethod, large); status.Code(err) != codes.ResourceExhausted ||
			time.Since(began) != enterTime {
			t.Errorf("one more waits %v: %v", time.Since(began), err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := a.enter(gone, "10.0.0.1:2", putMethod, large); status.Code(err) != codes.Canceled {
			t.Errorf("one whose client has left: %v", err)
		}
		for what, err := range map[string]error{
			"from elsewhere": enters("10.0.0.2:1", putMethod, large),
			"a small one":    enters("10.0.0.1:1", putMethod, largeAsk-1),
			"a lock":         enters("10.0.0.1:1", lockMethod, large),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		in := make(chan error, 1)
		go func() { in <- enters("10.0.0.1:2", putMethod, large) }()
		virtual.Wait()
		for _, leave := range leaves[:8] { // what is of others counts twice and more
			leave()
		}
		if err := <-in; err != nil {
			t.Errorf("when some have ended: %v", err)
		}
	})
}

// Those that may wait for long are refused at once, and take nothing from the others.
func TestRequestsThatMayWaitForLongAreBounded(t *testing.T) {
	a, n := newAsks(), int64(0)
	for ; ; n++ {
		if _, err := a.enter(t.Context(), fmt.Sprintf("10.0.%d.1:1", n%4), lockMethod, 1<<20); err != nil {
			if status.Code(err) != codes.ResourceExhausted || n<<20 > mostPatient || n<<20 < mostPatient/2 {
				t.Errorf("%d MiB, then %v", n, err)
			}
			break
		}
	}
	if leave, err := a.enter(t.Context(), "10.0.0.1:1", putMethod, 1<<20); err != nil {
		t.Error(err)
	} else {
		leave()
	}
}

// askedStream is one whose client says one message.
type askedStream struct {
	grpc.ServerStream
	ctx     context.Context
	service string
}

func (s *askedStream) Context() context.Context { return s.ctx }

func (s *askedStream) RecvMsg(m any) error {
	m.(*healthpb.HealthCheckRequest).Service = s.service
	return nil
}

// What a stream is asked in one message counts until it is over, unless it is small.
func TestWhatStreamsAreAskedIsBounded(t *testing.T) {
	u := &underway{asks: newAsks(), from: "10.0.0.1:1"}
	open := func(many int, service string, clients bool) (opened int, err error) {
		info := &grpc.StreamServerInfo{FullMethod: healthpb.Health_Watch_FullMethodName, IsClientStream: clients}
		ctx := context.WithValue(t.Context(), comingKey{}, &coming{of: u, request: &request{}})
		s := &askedStream{ctx: ctx, service: service}
		var next grpc.StreamHandler // which has another one open while it is
		next = func(_ any, in grpc.ServerStream) error {
			if err := in.RecvMsg(new(healthpb.HealthCheckRequest)); err != nil {
				return err
			}
			if opened++; opened == many {
				return nil
			}
			return takeStream(nil, s, info, next)
		}
		err = takeStream(nil, s, info, next)
		return opened, err
	}
	const many = 100
	large, small := strings.Repeat("s", 1<<20), strings.Repeat("s", largeAsk-8)
	for range 2 { // what the first ones had is free again
		n, err := open(many, large, false)
		if most := u.asks.patient.Alone() >> 20; status.Code(err) != codes.ResourceExhausted || int64(n) > most ||
			int64(n) < most-1 {
			t.Errorf("%d of %d MiB, then %v", n, most, err)
		}
	}
	if n, err := open(many, small, false); err != nil {
		t.Errorf("%d small ones, then %v", n, err)
	}
	if n, err := open(many, large, true); err != nil {
		t.Errorf("%d whose clients say many messages, then %v", n, err)
	}
}

// Streams are counted of all connections of an address, and so are requests that wait for others; others go on.
func TestOpenStreamsAreBounded(t *testing.T) {
	streams := share.New(7)
	u := &underway{asks: &asks{streams: streams}, from: "10.0.0.1:1"}
	ctx := context.WithValue(t.Context(), comingKey{}, &coming{of: u, request: &request{}})
	unary := func(method string) error {
		_, err := takeUnary(ctx, &healthpb.HealthCheckRequest{}, &grpc.UnaryServerInfo{FullMethod: method},
			func(context.Context, any) (any, error) { return nil, nil })
		return err
	}
	for many, want := range map[bool]codes.Code{true: codes.Unavailable, false: codes.ResourceExhausted} {
		info, opened := &grpc.StreamServerInfo{IsClientStream: many}, int64(0)
		var next grpc.StreamHandler // which has another one open while it is
		next = func(any, grpc.ServerStream) error {
			if opened++; opened > 100 {
				return nil
			}
			if err := unary(lockMethod); (opened < streams.Alone()) != (err == nil) {
				t.Errorf("a lock beside %d streams: %v", opened, err)
			}
			if err := unary(putMethod); err != nil {
				t.Errorf("a write beside %d streams: %v", opened, err)
			}
			return takeStream(nil, &askedStream{ctx: ctx}, info, next)
		}
		err := takeStream(nil, &askedStream{ctx: ctx}, info, next)
		if opened != streams.Alone() || status.Code(err) != want {
			t.Errorf("%d streams, then %v", opened, err)
		}
	}
}

// A message that is compressed counts as what it may be when gRPC has unpacked it, until it is taken.
func TestAMessageThatIsCompressedCountsAsWhatItMayBe(t *testing.T) {
	for packed, want := range map[int]int64{1000: 1000 * mostUnpacked, 100 << 10: largestMessage} {
		s := &sink{}
		at := &clients{}
		c := newLeavable(s, at)
		c.requests.begin = func() func() { return func() {} }
		hear := func(text []byte) {
			s.Buffer.Write(text)
			for s.Buffer.Len() > 0 || len(c.unread) > 0 {
				c.Read(make([]byte, 1<<10))
			}
		}
		hear(append(preface[:len(preface):len(preface)], headersOf(1, "/a")...))
		one := c.requests.opens(true, 0)
		message := dataOf(1, packed, packed)
		message[frameHeaderBytes] = 1 // it is compressed
		hear(message)
		if n := at.fresh.all.bytes.Load(); n < want || n > want+2*int64(packed)+4<<10 {
			t.Errorf("%d bytes count for %d", packed, n)
		}
		if err := one.took(); err != nil || at.fresh.all.bytes.Load() != 0 {
			t.Errorf("%v, and %d bytes are left", err, at.fresh.all.bytes.Load())
		}
		c.requests.leave()
	}
}
