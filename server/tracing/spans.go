package tracing

import (
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spans are those that are over and not exported: as many as there is room for. It implements
// sdktrace.SpanProcessor.
type spans struct {
	sdktrace.SpanProcessor // gathers them, in the background
	exporter               *exporter
	room                   int64
	waiting                atomic.Int64 // on their way included
	leftOut                atomic.Uint64
}

func newSpans(o *Options, to sdktrace.SpanExporter) *spans {
	s := &spans{room: int64(o.QueueSpans)}
	s.exporter = &exporter{SpanExporter: to, endpoint: o.Endpoint, logger: o.Logger, done: func(n int) {
		s.waiting.Add(-int64(n))
	}}
	s.SpanProcessor = sdktrace.NewBatchSpanProcessor(s.exporter,
		sdktrace.WithMaxQueueSize(o.QueueSpans), // never full: what finds no room does not come so far
		sdktrace.WithMaxExportBatchSize(min(batchSpans, o.QueueSpans)),
		sdktrace.WithBatchTimeout(batchTime), sdktrace.WithExportTimeout(o.Timeout))
	return s
}

// OnEnd implements sdktrace.SpanProcessor. It waits for nothing.
func (s *spans) OnEnd(span sdktrace.ReadOnlySpan) {
	if !span.SpanContext().IsSampled() {
		return
	}
	if s.waiting.Add(1) > s.room {
		s.waiting.Add(-1)
		s.leftOut.Add(1)
		return
	}
	s.SpanProcessor.OnEnd(span)
}
