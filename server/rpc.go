package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Limits of the client port's gRPC server. Keep-alive figures are etcd's.
const (
	windowBytes       = 1 << 20
	keepaliveMinTime  = 5 * time.Second
	keepaliveInterval = 2 * time.Hour
	keepaliveTimeout  = 20 * time.Second
)

// newRPCServer makes the gRPC server of the client port with the API's own options. TLS is the listener's business.
func newRPCServer(calls *callMetrics, api ...grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(api,
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(4*windowBytes),
		grpc.SharedWriteBuffer(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.UnaryInterceptor(calls.unary),
		grpc.StreamInterceptor(calls.stream),
	)...)
}

// callMetrics counts and times requests. Its maps are complete before the server serves and are only read afterwards.
type callMetrics struct {
	handled  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	open     *prometheus.GaugeVec
	methods  map[string]*methodMetrics
}

type methodMetrics struct {
	handled  [codes.Unauthenticated + 1]prometheus.Counter
	duration prometheus.Observer
	open     prometheus.Gauge
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
		methods: map[string]*methodMetrics{},
	}
	r.MustRegister(m.handled, m.duration, m.open)
	return m
}

// prepare makes the series of every registered method, so that a request costs no look-up by label.
func (m *callMetrics) prepare(s *grpc.Server) {
	for service, info := range s.GetServiceInfo() {
		for _, method := range info.Methods {
			name := "/" + service + "/" + method.Name
			one := &methodMetrics{}
			for code := range one.handled {
				one.handled[code] = m.handled.WithLabelValues(name, codes.Code(code).String())
			}
			if method.IsClientStream || method.IsServerStream {
				one.open = m.open.WithLabelValues(name)
			} else {
				one.duration = m.duration.WithLabelValues(name)
			}
			m.methods[name] = one
		}
	}
}

func (m *methodMetrics) count(err error) {
	code := status.Code(err)
	if int(code) >= len(m.handled) {
		code = codes.Unknown
	}
	m.handled[code].Inc()
}

func (m *callMetrics) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	one := m.methods[info.FullMethod]
	if one == nil {
		return handle(ctx, request)
	}
	began := time.Now()
	answer, err := handle(ctx, request)
	one.duration.Observe(time.Since(began).Seconds())
	one.count(err)
	return answer, err
}

func (m *callMetrics) stream(service any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	one := m.methods[info.FullMethod]
	if one == nil {
		return handle(service, s)
	}
	one.open.Inc()
	defer one.open.Dec()
	err := handle(service, s)
	one.count(err)
	return err
}
