package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// offered is a service with a method of each kind.
var offered = map[string]grpc.ServiceInfo{"etcdserverpb.KV": {Methods: []grpc.MethodInfo{
	{Name: "Put"},
	{Name: "RangeStream", IsServerStream: true},
	{Name: "Watch", IsClientStream: true, IsServerStream: true},
}}}

const putMethod, watchMethod = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Watch"

func newTestCalls() *Calls {
	c := NewCalls(slog.New(slog.DiscardHandler))
	c.Know(offered)
	return c
}

// call makes a unary request that ends with err.
func (c *Calls) call(full string, err error) error {
	_, got := c.Unary(pass)(context.Background(), "request", &grpc.UnaryServerInfo{FullMethod: full},
		func(context.Context, any) (any, error) { return "answer", err })
	return got
}

// pass is an interceptor that does nothing.
func pass(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(ctx, request)
}

func passStream(service any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(service, s)
}

// Servers follow one another at a port, and each makes its methods known: while pages are read and requests come, and
// without a loss of what was counted.
func TestMethodsAreMadeKnownAgain(t *testing.T) {
	c := newTestCalls()
	var others sync.WaitGroup
	others.Go(func() { c.call(putMethod, nil) })
	others.Go(func() { scrape(t, c) })
	others.Go(func() { c.openOf("Watch") })
	more := maps.Clone(offered)
	more["etcdserverpb.Lease"] = grpc.ServiceInfo{Methods: []grpc.MethodInfo{{Name: "LeaseGrant"}}}
	c.Know(more)
	others.Wait()
	expect(t, scrape(t, c), map[string]float64{
		"grpc_server_started_total{unary etcdserverpb.KV Put}":           1,
		"grpc_server_started_total{unary etcdserverpb.Lease LeaseGrant}": 0,
	})
}

// What is counted of a request, by the words of etcd and of this node.
func TestCalls(t *testing.T) {
	c := newTestCalls()
	c.call(putMethod, nil)
	c.call(putMethod, status.Error(codes.Unavailable, "no leader"))
	c.call(putMethod, context.Canceled)       // what gRPC tells the client of it
	c.call(putMethod, errors.New("anything")) // likewise
	c.call(putMethod, status.Error(999, "a code that there is not"))
	info := &grpc.StreamServerInfo{FullMethod: watchMethod}
	var during map[string]float64
	err := c.Stream(passStream)(nil, fakeStream{}, info, func(_ any, s grpc.ServerStream) error {
		s.SendMsg(1)
		s.SendMsg(1)
		s.RecvMsg(1)
		during = scrape(t, c)
		panic("a bug")
	})
	if status.Code(err) != codes.Internal {
		t.Errorf("a panic is %v", err)
	}
	const put, watch = "{unary etcdserverpb.KV Put", "{bidi_stream etcdserverpb.KV Watch"
	expect(t, during, map[string]float64{
		"mimir_open_streams{" + watchMethod + "}": 1, "grpc_server_started_total" + watch + "}": 1,
		"grpc_server_handled_total" + watch + " OK}": 0,
	})
	expect(t, scrape(t, c), map[string]float64{
		"grpc_server_started_total" + put + "}": 5, "grpc_server_msg_received_total" + put + "}": 5,
		"grpc_server_msg_sent_total" + put + "}":                               1,
		"grpc_server_handled_total" + put + " OK}":                             1,
		"grpc_server_handled_total" + put + " Unavailable}":                    1,
		"grpc_server_handled_total" + put + " Canceled}":                       1,
		"grpc_server_handled_total" + put + " Unknown}":                        2,
		"grpc_server_handled_total" + put + " DataLoss}":                       0, // there before there is one
		"grpc_server_handling_seconds" + put + "}":                             5,
		"mimir_requests_total{" + putMethod + " Canceled}":                     1,
		"mimir_request_seconds{" + putMethod + "}":                             5,
		"grpc_server_handled_total" + watch + " Internal}":                     1,
		"grpc_server_msg_sent_total" + watch + "}":                             2,
		"grpc_server_msg_received_total" + watch + "}":                         1,
		"grpc_server_handling_seconds" + watch + "}":                           1,
		"mimir_open_streams{" + watchMethod + "}":                              0,
		"grpc_server_started_total{server_stream etcdserverpb.KV RangeStream}": 0,
	})
}

// T4: whatever strangers call, there are no more series.
func TestUnknownMethodsAreOne(t *testing.T) {
	c := newTestCalls()
	c.call("/a/b", nil)
	before := len(scrape(t, c))
	for _, name := range []string{"", "/", "/x/y", "/etcdserverpb.KV/Put/", "\xff"} {
		c.call(name, nil)
	}
	after := scrape(t, c)
	if len(after) != before {
		t.Errorf("%d series, and %d after calls of what is not offered", before, len(after))
	}
	expect(t, after, map[string]float64{"grpc_server_started_total{bidi_stream unknown unknown}": 6})
}

// T5: counting takes no memory.
func TestCountingTakesNoMemory(t *testing.T) {
	c := newTestCalls()
	info := &grpc.UnaryServerInfo{FullMethod: putMethod}
	handle := func(context.Context, any) (any, error) { return nil, nil }
	unary := c.Unary(pass)
	if n := testing.AllocsPerRun(100, func() { unary(t.Context(), nil, info, handle) }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func BenchmarkUnary(b *testing.B) {
	c := newTestCalls()
	info := &grpc.UnaryServerInfo{FullMethod: putMethod}
	handle := func(context.Context, any) (any, error) { return nil, nil }
	unary := c.Unary(pass)
	b.ReportAllocs()
	for b.Loop() {
		unary(b.Context(), nil, info, handle)
	}
}

type fakeStream struct{ grpc.ServerStream }

func (fakeStream) SendMsg(any) error { return nil }
func (fakeStream) RecvMsg(any) error { return nil }

// scrape returns the values of all series, by name and the values of their labels in the order of their declaration;
// of a histogram how much it saw.
func scrape(t *testing.T, collectors ...prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collectors...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	order := map[string]*Figure{}
	for _, f := range Declared() {
		order[f.Name] = f
	}
	values := map[string]float64{}
	for _, family := range families {
		f := order[family.GetName()]
		if f == nil {
			t.Fatalf("%s is not declared", family.GetName())
		}
		for _, m := range family.GetMetric() {
			key, sep := f.Name, "{"
			for _, want := range f.Labels {
				for _, l := range m.GetLabel() {
					if l.GetName() == want {
						key, sep = key+sep+l.GetValue(), " "
					}
				}
			}
			if len(f.Labels) > 0 {
				key += "}"
			}
			switch f.Kind {
			case Gauge:
				values[key] = m.GetGauge().GetValue()
			case Counter:
				values[key] = m.GetCounter().GetValue()
			default:
				values[key] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return values
}

func expect(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if have, ok := got[name]; !ok || have != v {
			t.Errorf("%s is %v (there: %t), not %v", name, have, ok, v)
		}
	}
}
