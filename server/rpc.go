package server

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/server/operator"
)

// Limits of the client port's gRPC server. Keep-alive figures are etcd's where nothing else is said.
const (
	windowBytes      = 1 << 20
	keepaliveMinTime = 5 * time.Second
	keepaliveTimeout = 20 * time.Second
	// keepaliveInterval is less than etcd's two hours: a client that is gone without a word holds a connection.
	keepaliveInterval = 2 * time.Minute
	// headerBytes bounds the headers of a request.
	headerBytes = 64 << 10
	// streamWorkers keep their grown stacks from one request to the next; more requests than that get goroutines of
	// their own.
	streamWorkers = 256
)

// newRPCServer makes the gRPC server of the client port with the API's own options. TLS is the listener's business;
// what certificates were shown comes with the connection.
func newRPCServer(calls *callMetrics, logger *slog.Logger, api ...grpc.ServerOption) *grpc.Server {
	calls.logger = logger
	return grpc.NewServer(append(api,
		grpc.Creds(operator.Credentials()),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(4*windowBytes),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(sniffTimeout),
		grpc.MaxHeaderListSize(headerBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.UnaryInterceptor(calls.unary),
		grpc.StreamInterceptor(calls.stream),
	)...)
}

// callMetrics counts and times requests. A method's series begin with its first request, and are found without a
// look-up by label from then on.
type callMetrics struct {
	handled  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	open     *prometheus.GaugeVec
	methods  sync.Map // full method to *methodMetrics
	logger   *slog.Logger
	slow     *slow // may be nil
}

type methodMetrics struct {
	name     string
	handled  [codes.Unauthenticated + 1]atomic.Pointer[prometheus.Counter]
	duration prometheus.Observer // of a unary method
	open     prometheus.Gauge    // of a stream
}

func newCallMetrics(r prometheus.Registerer) *callMetrics {
	m := &callMetrics{
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mimir_requests_total", Help: "Requests answered, by method and gRPC code.",
		}, []string{"method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mimir_request_seconds", Help: "Time to answer a unary request.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
		}, []string{"method"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mimir_open_streams", Help: "Streams that clients hold open.",
		}, []string{"method"}),
	}
	r.MustRegister(m.handled, m.duration, m.open)
	return m
}

// method returns the series of a registered method.
func (m *callMetrics) method(name string, stream bool) *methodMetrics {
	if one, ok := m.methods.Load(name); ok {
		return one.(*methodMetrics)
	}
	fresh := &methodMetrics{name: name}
	if stream {
		fresh.open = m.open.WithLabelValues(name)
	} else {
		fresh.duration = m.duration.WithLabelValues(name)
	}
	one, _ := m.methods.LoadOrStore(name, fresh)
	return one.(*methodMetrics)
}

func (m *callMetrics) count(one *methodMetrics, err error) {
	code := status.Code(err)
	if int(code) >= len(one.handled) {
		code = codes.Unknown
	}
	c := one.handled[code].Load()
	if c == nil {
		fresh := m.handled.WithLabelValues(one.name, code.String())
		c = &fresh
		one.handled[code].Store(c)
	}
	(*c).Inc()
}

func (m *callMetrics) unary(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (answer any, err error) {
	one := m.method(info.FullMethod, false)
	began := time.Now()
	func() {
		defer m.guard(one, &err)
		answer, err = handle(ctx, request)
	}()
	took := time.Since(began)
	one.duration.Observe(took.Seconds())
	m.count(one, err)
	if m.slow == nil {
		return answer, err
	}
	m.slow.heard(ctx, info.FullMethod, took, request, answer, err)
	return answer, err
}

func (m *callMetrics) stream(
	service any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler,
) (err error) {
	one := m.method(info.FullMethod, true)
	one.open.Inc()
	defer one.open.Dec()
	func() {
		defer m.guard(one, &err)
		err = handle(service, s)
	}()
	m.count(one, err)
	return err
}

// guard makes an error of a request's panic: one request must not end the node.
func (m *callMetrics) guard(one *methodMetrics, err *error) {
	if r := recover(); r != nil {
		*err = status.Errorf(codes.Internal, "mimir: %s: panic: %v", one.name, r)
		m.logger.Error("a request panicked", "method", one.name, "err", r)
		m.logger.Debug("panic", "stack", string(debug.Stack()))
	}
}
