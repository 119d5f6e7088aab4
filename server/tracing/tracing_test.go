package tracing

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/server/tracing/tracingtest"
)

// hung is an exporter that takes spans and never comes back, whatever its context says.
type hung struct{ called chan struct{} }

func (h hung) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	close(h.called)
	select {}
}

func (hung) Shutdown(context.Context) error { return nil }

func options() Options {
	return Options{Endpoint: "here:1", Protocol: GRPC, PerMillion: 1_000_000, QueueSpans: 64, Timeout: time.Second,
		Service: "mimir", Logger: slog.New(slog.DiscardHandler)}
}

// An exporter that hangs for good holds up no span and no stop, and no more wait for it than may.
func TestAnExporterThatHangsHoldsNobodyUp(t *testing.T) {
	h, o := hung{make(chan struct{})}, options()
	tracing := newTracing(&o, h)
	call := tracing.Unary(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, nil
	})
	ask := func() { call(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, nil) } //nolint:errcheck // none
	for range o.QueueSpans {
		ask()
	}
	<-h.called
	for range 1000 {
		ask()
	}
	if waiting, left := tracing.spans.waiting.Load(), tracing.spans.leftOut.Load(); waiting != 64 || left != 1000 {
		t.Errorf("%d wait, %d are left out", waiting, left)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tracing.Close(ctx); err == nil {
		t.Error("what hangs was told to the end")
	}
	ask() // a request that is still under way then
}

// Without a collector everything is what it would be without this package.
func TestWithoutACollectorNothingIsWrapped(t *testing.T) {
	tracing, err := New(Options{})
	if tracing != nil || err != nil {
		t.Fatal(tracing, err)
	}
	unary := func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, nil }
	stream := func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { return nil }
	place := func(f any) uintptr { return reflect.ValueOf(f).Pointer() }
	mux := http.NewServeMux()
	if place(tracing.Unary(unary)) != place(unary) || place(tracing.Stream(stream)) != place(stream) ||
		tracing.HTTP("", mux) != http.Handler(mux) || tracing.Gateway(mux) != http.Handler(mux) ||
		tracing.Library() != nil || tracing.Reads(nil) != nil || tracing.Transport(nil) != nil ||
		tracing.Close(t.Context()) != nil {
		t.Error("something is")
	}
}

// What anybody may say is no more than an identity, or nothing.
func TestWhatATraceparentMayBe(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for text, valid := range map[string]bool{
		good: true, strings.ToUpper(good): false, good[:54]: false, "": false, "ff" + good[2:]: false,
		good + "-x": false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false, strings.Repeat("0-", 1<<15): false,
	} {
		c := parse(text)
		if c.IsValid() != valid || c.TraceState().Len() > 0 {
			t.Errorf("%.60q: %v", text, c)
		}
		if valid && format(c) != text {
			t.Errorf("%q is written as %q", text, format(c))
		}
	}
	l := library{newTracing(&Options{Logger: slog.New(slog.DiscardHandler), QueueSpans: 64}, hung{})}
	if l.Begin(good[:54]+"0", "write") != nil || l.Begin("x", "write") != nil {
		t.Error("what is not drawn begins")
	}
	if l.Begin(good, "write") == nil {
		t.Error("what another node drew does not begin, where the ratio is zero")
	}
}

// Spans come to a collector over both protocols, with TLS and without, as those of the node and of what it was asked.
func TestSpansComeToTheCollector(t *testing.T) {
	// Its certificate is that of tests over HTTP, for example.com.
	secured := httptest.NewUnstartedServer(nil)
	secured.StartTLS()
	defer secured.Close()
	certificate := secured.TLS.Certificates[0]
	trusted := secured.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusted.ServerName, trusted.NextProtos = "example.com", nil
	for _, c := range []struct {
		protocol string
		secure   bool
	}{{GRPC, false}, {GRPC, true}, {HTTP, false}, {HTTP, true}} {
		collector, o := &tracingtest.Collector{}, options()
		server := httptest.NewUnstartedServer(collector)
		o.Protocol, o.Endpoint = c.protocol, server.Listener.Addr().String()
		o.Instance, o.Region, o.Node = "us/us-1", "us", "us-1"
		if c.secure {
			o.Credentials, o.TLS = credentials.NewTLS(trusted), func() *tls.Config { return trusted }
		}
		switch {
		case c.protocol == GRPC && c.secure:
			s := tracingtest.Over(collector, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
			go s.Serve(server.Listener) //nolint:errcheck // ends with Stop
			defer s.Stop()
		case c.protocol == GRPC:
			defer collector.Serve(server.Listener)()
		case c.secure:
			server.StartTLS()
			defer server.Close()
		default:
			server.Start()
			defer server.Close()
		}
		tracing, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		inside := ""
		tracing.Unary(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			inside = transport.Traceparent(ctx)
			return nil, nil
		})(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, nil) //nolint:errcheck // none
		if err := tracing.Close(t.Context()); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		spans := collector.Spans()
		if len(spans) != 1 || spans[0].Name != "a.B/C" || spans[0].Node != "us-1" || spans[0].Kind != "server" ||
			spans[0].Attributes["rpc.method"] != "C" || !strings.Contains(inside, spans[0].ID) {
			t.Errorf("%+v: %+v", c, spans)
		}
	}
}

// BenchmarkARequest is what the interceptor costs a request.
func BenchmarkARequest(b *testing.B) {
	for name, perMillion := range map[string]int{"not drawn": 0, "drawn": 1_000_000} {
		b.Run(name, func(b *testing.B) {
			o := options()
			o.PerMillion = perMillion
			tracing := newTracing(&o, hung{make(chan struct{})})
			call := tracing.Unary(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
				return nil, nil
			})
			info := &grpc.UnaryServerInfo{FullMethod: "/etcdserverpb.KV/Put"}
			b.ReportAllocs()
			for b.Loop() {
				call(b.Context(), nil, info, nil) //nolint:errcheck // none
			}
		})
	}
}
