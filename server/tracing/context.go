package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/mimir-kv/mimir/replication/transport"
)

// traceparent is the name of W3C's header, and of the metadata.
const traceparent = "traceparent"

// parse reads a traceparent. What is none is not valid. The state that vendors may add to a trace is never read: it is
// a stranger's, and large.
func parse(text string) trace.SpanContext {
	if text == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: text})
	return trace.SpanContextFromContext(ctx)
}

// format writes a traceparent.
func format(c trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", c.TraceID(), c.SpanID(), c.TraceFlags()&trace.FlagsSampled)
}

// within returns the context of what is done within a span, here and on other nodes.
func within(ctx context.Context, span trace.Span) context.Context {
	return transport.WithTraceparent(trace.ContextWithSpan(ctx, span), format(span.SpanContext()))
}

// parent returns ctx with the span within which something is done, if that is drawn; remote says that it is one of
// another node.
func parent(ctx context.Context, remote bool) (context.Context, bool) {
	c := parse(transport.Traceparent(ctx))
	if !c.IsValid() || !c.IsSampled() {
		return ctx, false
	}
	return trace.ContextWithSpanContext(ctx, c.WithRemote(remote)), true
}

// end ends a span with what went wrong, if anything did.
func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, told(err.Error()))
	}
	span.End()
}

// told is as much of a text as a span says. It is UTF-8 whatever the text is and wherever it is cut: one that is not
// cannot be sent, and no other that waits with it either.
func told(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxTextBytes)], "\ufffd")
}

// note adds what has no type of its own to a span.
func note(span trace.Span, key string, value any) {
	key = "mimir." + key
	switch v := value.(type) {
	case int64:
		span.SetAttributes(attribute.Int64(key, v))
	case string:
		span.SetAttributes(attribute.String(key, told(v)))
	default:
		span.SetAttributes(attribute.String(key, told(fmt.Sprint(v))))
	}
}

// Keys under which a line of the log says to which trace its request belongs.
const (
	keyTrace = "trace_id"
	keySpan  = "span_id"
)

// Attrs say for a line of a log to which trace the request of ctx belongs; none if it is in none, or its client says of
// that one that it is not sampled.
func Attrs(ctx context.Context) []slog.Attr {
	c := trace.SpanContextFromContext(ctx)
	if !c.IsValid() || !c.IsSampled() {
		return nil
	}
	return []slog.Attr{slog.String(keyTrace, c.TraceID().String()), slog.String(keySpan, c.SpanID().String())}
}

// Handler returns h with Attrs in each line that is written with the context of a request.
func Handler(h slog.Handler) slog.Handler { return &handler{h} }

type handler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if attrs := Attrs(ctx); attrs != nil {
		r = r.Clone()
		r.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler { return &handler{h.Handler.WithGroup(name)} }
