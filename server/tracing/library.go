package tracing

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Library is told by the library of the parts of writes; nil if there are no traces.
func (t *Tracing) Library() replication.Tracer {
	if t == nil {
		return nil
	}
	return library{t}
}

type library struct{ *Tracing }

// Begin implements replication.Tracer.
func (l library) Begin(traceparent, part string) replication.Span {
	ctx, drawn := parent(transport.WithTraceparent(context.Background(), traceparent), false)
	if !drawn {
		return nil
	}
	_, span := l.tracer.Start(ctx, "mimir."+part)
	if !span.IsRecording() {
		return nil
	}
	return &partOf{span, format(span.SpanContext())}
}

// partOf is a part of a write. It implements replication.Span.
type partOf struct {
	span trace.Span
	text string
}

// Traceparent implements replication.Span.
func (p *partOf) Traceparent() string { return p.text }

// Note implements replication.Span.
func (p *partOf) Note(key string, value any) { note(p.span, key, value) }

// End implements replication.Span.
func (p *partOf) End(err error) { end(p.span, err) }
