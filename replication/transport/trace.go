package transport

import "context"

// maxTraceparent bounds what is taken for one: W3C's has 55 characters, and later versions of it may have more.
const maxTraceparent = 128

type traceKey struct{}

// WithTraceparent returns a context of what is done for a request in a trace. The text is opaque here: W3C's
// traceparent, of the part of the request within which it is done. A Transport brings it to the other side of a stream
// that is opened with the context, where the handler's context has it, or leaves it out; a node of before takes no
// notice of it. Nothing is changed for an empty or an overlong one.
func WithTraceparent(ctx context.Context, text string) context.Context {
	if text == "" || len(text) > maxTraceparent {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, text)
}

// Traceparent returns that of a context; empty if what is done is in no trace.
func Traceparent(ctx context.Context) string {
	text, _ := ctx.Value(traceKey{}).(string)
	return text
}
