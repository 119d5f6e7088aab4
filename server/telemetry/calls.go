package telemetry

import (
	"context"
	"log/slog"
	"maps"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Of requests over gRPC, those of the JSON gateway included.
var (
	requests = Declare(Counter, "mimir_requests_total", "Requests answered, by method and gRPC code.", "method", "code")
	took     = Declare(Histogram, "mimir_request_seconds", "Time to answer a unary request.", "method")
	open     = Declare(Gauge, "mimir_open_streams", "Streams that clients hold open.", "method")

	started = Declare(Counter, "grpc_server_started_total", "RPCs begun.",
		"grpc_type", "grpc_service", "grpc_method")
	handled = Declare(Counter, "grpc_server_handled_total", "RPCs ended, by gRPC code.",
		"grpc_type", "grpc_service", "grpc_method", "grpc_code")
	received = Declare(Counter, "grpc_server_msg_received_total", "Messages of clients.",
		"grpc_type", "grpc_service", "grpc_method")
	sent = Declare(Counter, "grpc_server_msg_sent_total", "Messages to clients.",
		"grpc_type", "grpc_service", "grpc_method")
	handling = Declare(Histogram, "grpc_server_handling_seconds", "Time from the beginning of an RPC to its end; "+
		"there once one has ended. etcd has it with --metrics extensive.", "grpc_type", "grpc_service", "grpc_method")
)

// requestBuckets begin at a tenth of a millisecond.
var requestBuckets = prometheus.ExponentialBuckets(0.0001, 2, 18)

// Calls counts and times requests. It is safe for concurrent use.
type Calls struct {
	Unchecked
	logger *slog.Logger
	other  *method // whatever is not known
	// known are methods by full name: read by each request and each scrape, replaced as a whole by Know.
	known atomic.Pointer[map[string]*method]
}

// method is what there is of one.
type method struct {
	full   string
	labels []string // type, service, method
	unary  bool

	started, received, sent atomic.Uint64
	handled                 [codes.Unauthenticated + 1]atomic.Uint64
	took                    prometheus.Histogram // unary alone
	handling                prometheus.Histogram
}

// NewCalls returns one that knows no method. The logger hears of panics.
func NewCalls(logger *slog.Logger) *Calls {
	c := &Calls{logger: logger, other: newMethod("unknown", "unknown", grpc.MethodInfo{
		Name: "unknown", IsClientStream: true, IsServerStream: true,
	})}
	c.known.Store(&map[string]*method{})
	return c
}

func newMethod(full, service string, info grpc.MethodInfo) *method {
	labels := []string{kindOf(info), service, info.Name}
	m := &method{full: full, labels: labels, unary: !info.IsClientStream && !info.IsServerStream}
	m.took, m.handling = took.histogram(requestBuckets, full), handling.histogram(prometheus.DefBuckets, labels...)
	return m
}

func kindOf(info grpc.MethodInfo) string {
	switch {
	case info.IsClientStream && info.IsServerStream:
		return "bidi_stream"
	case info.IsClientStream:
		return "client_stream"
	case info.IsServerStream:
		return "server_stream"
	}
	return "unary"
}

// Know makes the methods known that a server offers. What was counted of a method that is known already stays: servers
// follow one another at a port. Requests and scrapes may go on meanwhile; calls of Know come one at a time.
func (c *Calls) Know(services map[string]grpc.ServiceInfo) {
	known := maps.Clone(*c.known.Load())
	for service, info := range services {
		for _, one := range info.Methods {
			full := "/" + service + "/" + one.Name
			if known[full] == nil {
				known[full] = newMethod(full, service, one)
			}
		}
	}
	c.known.Store(&known)
}

func (c *Calls) method(full string) *method {
	if m := (*c.known.Load())[full]; m != nil {
		return m
	}
	return c.other
}

// end counts an answer by what the client is told.
func (m *method) end(err error, began time.Time) {
	seconds := time.Since(began).Seconds()
	m.handling.Observe(seconds)
	if m.unary {
		m.took.Observe(seconds)
	}
	code := codes.OK
	if err != nil {
		s, ok := status.FromError(err)
		if !ok {
			s = status.FromContextError(err)
		}
		if code = s.Code(); int(code) >= len(m.handled) {
			code = codes.Unknown
		}
	}
	m.handled[code].Add(1)
}

// Unary returns the interceptor of a gRPC server that stands before next. A panic is an error to it: one request must
// not end the node.
func (c *Calls) Unary(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(
		ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
	) (answer any, err error) {
		m := c.method(info.FullMethod)
		began := time.Now()
		m.started.Add(1)
		m.received.Add(1)
		defer func() {
			if r := recover(); r != nil {
				answer, err = nil, c.panicked(m, r)
			}
			if err == nil {
				m.sent.Add(1)
			}
			m.end(err, began)
		}()
		return next(ctx, request, info, handle)
	}
}

// Stream returns the interceptor of a gRPC server that stands before next, likewise.
func (c *Calls) Stream(next grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(
		service any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler,
	) (err error) {
		m := c.method(info.FullMethod)
		began := time.Now()
		m.started.Add(1)
		defer func() {
			if r := recover(); r != nil {
				err = c.panicked(m, r)
			}
			m.end(err, began)
		}()
		return next(service, &countedStream{s, m}, info, handle)
	}
}

func (c *Calls) panicked(m *method, r any) error {
	c.logger.Error("a request panicked", "method", m.full, "err", r)
	c.logger.Debug("panic", "stack", string(debug.Stack()))
	return status.Errorf(codes.Internal, "mimir: %s: panic: %v", m.full, r)
}

// countedStream counts its messages.
type countedStream struct {
	grpc.ServerStream
	of *method
}

// SendMsg implements grpc.ServerStream.
func (s *countedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.of.sent.Add(1)
	}
	return err
}

// RecvMsg implements grpc.ServerStream.
func (s *countedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.of.received.Add(1)
	}
	return err
}

// Collect implements prometheus.Collector. As with etcd what is counted of a method is there from the beginning.
func (c *Calls) Collect(out chan<- prometheus.Metric) {
	for _, m := range *c.known.Load() {
		m.collect(out)
	}
	if c.other.started.Load() > 0 {
		c.other.collect(out)
	}
}

func (m *method) collect(out chan<- prometheus.Metric) {
	ended := uint64(0)
	for code := range m.handled {
		n := m.handled[code].Load()
		ended += n
		name := codes.Code(code).String()
		handled.Set(out, float64(n), append(m.labels[:3:3], name)...)
		if n > 0 {
			requests.Set(out, float64(n), m.full, name)
		}
	}
	if ended > 0 {
		m.handling.Collect(out)
		if m.unary {
			m.took.Collect(out)
		}
	}
	begun := max(m.started.Load(), ended) // what began meanwhile
	started.Set(out, float64(begun), m.labels...)
	received.Set(out, float64(m.received.Load()), m.labels...)
	sent.Set(out, float64(m.sent.Load()), m.labels...)
	if !m.unary {
		open.Set(out, float64(begun-ended), m.full)
	}
}

// openOf returns how many streams of a method are open.
func (c *Calls) openOf(suffix string) (n uint64) {
	for full, m := range *c.known.Load() {
		if !strings.HasSuffix(full, suffix) {
			continue
		}
		for code := range m.handled {
			n -= m.handled[code].Load()
		}
		n += m.started.Load()
	}
	return n
}
