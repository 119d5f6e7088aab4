package tracing

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/server/tracing/tracingtest"
)

// patience only bounds what hangs.
const patience = 2 * time.Minute

// asking has a request answered with an error, or without.
func asking(ctx context.Context, tracing *Tracing, err error) {
	call := tracing.Unary(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, err
	})
	call(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, nil) //nolint:errcheck // what the test gave
}

// securely is a server of c by TLS, and options that reach it over HTTP.
func securely(t *testing.T, h http.Handler) (*httptest.Server, Options) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	t.Cleanup(s.Close)
	trusted := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusted.ServerName, trusted.NextProtos = "example.com", nil
	o := options()
	o.Protocol, o.Endpoint = HTTP, s.Listener.Addr().String()
	o.TLS = func() *tls.Config { return trusted }
	return s, o
}

// What a span says of an error is UTF-8 wherever it is cut and whatever it was, as is what it says of who asked: else
// no span that is sent with it comes to the collector.
func TestNoTextKeepsSpansFromTheCollector(t *testing.T) {
	collector, o := &tracingtest.Collector{}, options()
	server := httptest.NewServer(collector)
	defer server.Close()
	o.Protocol, o.Endpoint, o.Node = HTTP, server.Listener.Addr().String(), "us-\xff"
	o.Remote = func(context.Context) string { return "\xfe" }
	tracing, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	cut := errors.New(strings.Repeat("x", maxTextBytes-1) + "é")
	for _, err := range []error{nil, cut, errors.New("region \xe9t\xe9")} {
		asking(t.Context(), tracing, err)
	}
	l := library{tracing}
	part := l.Begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "write")
	part.Note("to", "\xff")
	part.End(cut)
	if err := tracing.Close(t.Context()); err != nil {
		t.Error(err)
	}
	spans := collector.Spans()
	if len(spans) != 4 {
		t.Fatalf("%d of 4 spans came", len(spans))
	}
	for _, s := range spans {
		if s.Node != "us-\ufffd" || len(s.Failed) > 2*maxTextBytes {
			t.Errorf("%+v", s)
		}
	}
}

// What is to go by TLS goes by TLS, whatever variables of the environment say, and wherever a collector sends to.
func TestTLSIsNotTakenBackByTheEnvironment(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s came in plaintext", r.URL)
	}))
	defer plain.Close()
	for key, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_INSECURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": plain.URL,
	} {
		t.Run(key, func(t *testing.T) {
			t.Setenv(key, value)
			collector := &tracingtest.Collector{}
			_, o := securely(t, collector)
			tracing, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			asking(t.Context(), tracing, nil)
			if err := tracing.Close(t.Context()); err != nil || len(collector.Spans()) != 1 {
				t.Errorf("%v, %+v", err, collector.Spans())
			}
		})
	}
	_, o := securely(t, http.RedirectHandler(plain.URL, http.StatusTemporaryRedirect))
	tracing, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	asking(t.Context(), tracing, nil)
	tracing.Close(t.Context()) //nolint:errcheck // it comes to nobody
}

// A collector that takes connections and does not shake hands keeps none of them.
func TestAHandshakeThatHangsIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ended := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(patience))
			_, err = io.Copy(io.Discard, c)
		}
		ended <- err
	}()
	o := options()
	o.Protocol, o.Endpoint, o.Timeout = HTTP, listener.Addr().String(), 100*time.Millisecond
	o.TLS = func() *tls.Config { return &tls.Config{ServerName: "example.com", MinVersion: tls.VersionTLS12} }
	tracing, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	asking(t.Context(), tracing, nil)
	tracing.Close(t.Context()) //nolint:errcheck // it comes to nobody
	if err := <-ended; err != nil {
		t.Errorf("the connection is kept: %v", err)
	}
}

// Of a request that is not traced no line of the log says that it is: neither by who draws, nor by its client.
func TestLinesOfWhatIsNotTraced(t *testing.T) {
	for flags, traced := range map[string]bool{"00": false, "01": true} {
		o := options()
		o.PerMillion, o.FollowClients = 0, true
		var log bytes.Buffer
		logger := slog.New(Handler(slog.NewTextHandler(&log, nil)))
		tracing := newTracing(&o, hung{make(chan struct{})})
		h := tracing.HTTP("POST /x", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			logger.InfoContext(r.Context(), "done")
		}))
		r := httptest.NewRequest(http.MethodPost, "/x", http.NoBody)
		r.Header.Set(traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"+flags)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if strings.Contains(log.String(), keyTrace) != traced {
			t.Errorf("flags %s: %s", flags, &log)
		}
	}
}

// An order that ends without an answer has failed, and so has one that is refused.
func TestAnOrderThatIsCutShortHasFailed(t *testing.T) {
	collector, o := &tracingtest.Collector{}, options()
	server := httptest.NewServer(collector)
	defer server.Close()
	o.Protocol, o.Endpoint = HTTP, server.Listener.Addr().String()
	tracing, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]http.HandlerFunc{
		"":          func(http.ResponseWriter, *http.Request) {},
		"cut short": func(http.ResponseWriter, *http.Request) { panic("x") },
		"Forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
	} {
		func() {
			defer func() { recover() }() //nolint:errcheck // the test made it
			r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			tracing.HTTP("POST /"+name, h).ServeHTTP(httptest.NewRecorder(), r)
		}()
	}
	if err := tracing.Close(t.Context()); err != nil {
		t.Error(err)
	}
	spans := collector.Spans()
	for _, s := range spans {
		if s.Name != "POST /"+s.Failed {
			t.Errorf("%s: %q", s.Name, s.Failed)
		}
	}
	if len(spans) != 3 {
		t.Errorf("%d spans", len(spans))
	}
}
