package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// newExporter returns what brings spans to the collector.
func newExporter(o *Options) (sdktrace.SpanExporter, error) {
	client := overGRPC(o)
	switch o.Protocol {
	case GRPC:
	case HTTP:
		client = overHTTP(o)
	default:
		return nil, fmt.Errorf("protocol %q: use %s or %s", o.Protocol, GRPC, HTTP)
	}
	exporter, err := otlptrace.New(context.Background(), client) // waits for nothing
	if err != nil {
		return nil, fmt.Errorf("exporter to %s: %w", o.Endpoint, err)
	}
	return exporter, nil
}

func overGRPC(o *Options) otlptrace.Client {
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(o.Endpoint), otlptracegrpc.WithTimeout(o.Timeout)}
	if o.Credentials == nil {
		options = append(options, otlptracegrpc.WithInsecure())
	} else {
		options = append(options, otlptracegrpc.WithTLSCredentials(o.Credentials))
	}
	return otlptracegrpc.NewClient(options...)
}

func overHTTP(o *Options) otlptrace.Client {
	options := []otlptracehttp.Option{otlptracehttp.WithEndpoint(o.Endpoint), otlptracehttp.WithTimeout(o.Timeout)}
	if o.TLS == nil {
		return otlptracehttp.NewClient(append(options, otlptracehttp.WithInsecure())...)
	}
	secured := secureOnly{&http.Transport{DialTLSContext: dialing(o.TLS, o.Timeout)}}
	client := &http.Client{Timeout: o.Timeout, Transport: secured}
	return otlptracehttp.NewClient(append(options, otlptracehttp.WithHTTPClient(client))...)
}

// exporter counts what was exported, and tells the log of a collector that takes nothing. It implements
// sdktrace.SpanExporter.
type exporter struct {
	sdktrace.SpanExporter
	endpoint string
	logger   *slog.Logger
	done     func(n int) // so many are not waiting any more

	taken, lost atomic.Uint64

	mu     sync.Mutex
	failed time.Time // since when nothing was taken; zero: the last was
	missed int       // since then
}

// ExportSpans implements sdktrace.SpanExporter. It is called by one goroutine, and says nothing of failures to it.
func (e *exporter) ExportSpans(ctx context.Context, list []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, list)
	e.done(len(list))
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.lost.Add(uint64(len(list)))
		if e.missed += len(list); e.failed.IsZero() {
			e.failed = time.Now()
			e.logger.Warn("the collector takes no spans: requests go on without", "endpoint", e.endpoint, "err", err)
		}
		return nil
	}
	e.taken.Add(uint64(len(list)))
	if !e.failed.IsZero() {
		e.logger.Info("the collector takes spans again", "endpoint", e.endpoint, "lost", e.missed,
			"after", time.Since(e.failed).Round(time.Millisecond))
		e.failed, e.missed = time.Time{}, 0
	}
	return nil
}

// failing reports whether the last that were sent were not taken.
func (e *exporter) failing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.failed.IsZero()
}
