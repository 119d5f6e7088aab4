package tracing

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"
)

// Protocols of OTLP.
const (
	GRPC = "grpc"
	HTTP = "http"
)

// Options say what is traced, and where to.
type Options struct {
	// Endpoint is host:port of the collector. Empty: there are no traces.
	Endpoint string
	// Protocol is GRPC or HTTP.
	Protocol string
	// Credentials secure GRPC, TLS secures each connection of HTTP. Nil: plaintext.
	Credentials credentials.TransportCredentials
	TLS         func() *tls.Config

	// PerMillion is how many of a million requests are drawn.
	PerMillion int
	// FollowClients has the traceparent of a client decide whether a request of it is drawn, and joins its trace.
	FollowClients bool
	// QueueSpans is how many spans wait to be exported, or are on their way, at most.
	QueueSpans int
	// Timeout is how long the collector has to take some.
	Timeout time.Duration

	// Service and Instance are how the node is called in traces; the others say what it is.
	Service, Instance            string
	Fleet, Region, Node, Version string

	// Remote returns the address that a request came from, empty if that is not known. May be nil.
	Remote func(ctx context.Context) string
	Logger *slog.Logger
}

// Tracing is the link of a node to its collector. A nil one is none: whatever it is asked to wrap stays as it is. It is
// safe for concurrent use.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	follow   bool
	remote   func(ctx context.Context) string
	spans    *spans
}

// Bounds of a span: what a stranger writes into a request does not make it large.
const (
	maxAttributes = 16
	maxTextBytes  = 256
	maxLinks      = 1
)

const (
	// batchSpans is how many are exported at once, and batchTime how long a few wait for more.
	batchSpans = 512
	batchTime  = time.Second
)

// New returns nil without an endpoint. It does not wait for the collector, which may come later.
func New(o Options) (*Tracing, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	exporter, err := newExporter(&o)
	if err != nil {
		return nil, err
	}
	return newTracing(&o, exporter), nil
}

// newTracing is New with an exporter of one's own.
func newTracing(o *Options, exporter sdktrace.SpanExporter) *Tracing {
	// What the libraries say by themselves, as that a collector took a part of what it was sent, and not to standard
	// error. It is one for the process, like their variables.
	logger := o.Logger
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Debug("OpenTelemetry", "err", err) }))
	t := &Tracing{follow: o.FollowClients, remote: o.Remote, spans: newSpans(o, exporter)}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(o.PerMillion)/1e6))),
		sdktrace.WithSpanProcessor(t.spans),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: maxTextBytes, AttributeCountLimit: maxAttributes, EventCountLimit: 0,
			LinkCountLimit: maxLinks, AttributePerEventCountLimit: 0, AttributePerLinkCountLimit: 0,
		}),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", told(o.Service)),
			attribute.String("service.instance.id", told(o.Instance)),
			attribute.String("service.version", told(o.Version)), attribute.String("mimir.fleet", told(o.Fleet)),
			attribute.String("mimir.region", told(o.Region)), attribute.String("mimir.node", told(o.Node)),
		)),
	)
	t.tracer = t.provider.Tracer("github.com/mimir-kv/mimir")
	return t
}

// Close exports what waits, and gives up when ctx ends. Spans that end afterwards are left out.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}
