package transport

import "context"

type anewKey struct{}

// Anew returns a context of an Open whose failure is to be none of before. A Transport that waits before it tries again
// to reach a peer, and fails at once meanwhile, tries then; it may wait for the first attempt of a connection that is
// under way. It is for who decides by the silence of a peer: it costs an attempt each time.
func Anew(ctx context.Context) context.Context { return context.WithValue(ctx, anewKey{}, true) }

// IsAnew reports whether a context is one that Anew returned, or was made of one.
func IsAnew(ctx context.Context) bool { return ctx.Value(anewKey{}) != nil }
