package transport

import (
	"context"
	"fmt"
)

// Caller is who opened a stream: by what it said, and by what the implementation of Transport made sure of.
type Caller struct{ Region, Node string }

type callerKey struct{}

// WithCaller returns a context for the handler of a stream that c opened. It is for implementations of Transport. The
// names are those of the opener's configuration: what it may have of a node goes by them.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who opened the stream of a handler's context; false if its Transport does not tell, or the opener
// gave no name.
func CallerOf(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok && c != Caller{}
}

// MaySpeak returns ErrStranger if the opener of a stream is known, and is not of the region for which it speaks: what a
// message says of its sender counts only as far as who opened the stream is that sender.
func MaySpeak(ctx context.Context, region string) error {
	if c, known := CallerOf(ctx); known && c.Region != region {
		return fmt.Errorf("%w: node %s of region %q speaks for region %q", ErrStranger, c.Node, c.Region, region)
	}
	return nil
}
