package main

import (
	"context"
	"errors"
	"time"
)

// Nodes that are asked together have revisionTimeout for an answer, and no longer than silenceTimeout after the last
// that gave one: a node that stands still costs that, and no more.
const (
	revisionTimeout = 3 * time.Second
	silenceTimeout  = time.Second
)

// errSilent says what is known of a node that was asked together with others, and given up.
var errSilent = errors.New("it says nothing: its process or its disk stands still, or nothing that is sent arrives")

// together returns a context for questions that are asked at the same time: it ends after bound, and earlier if none is
// heard for silence after another was. The caller ends it.
func together(
	ctx context.Context, bound, silence time.Duration,
) (_ context.Context, heard func(), end context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(bound, func() { cancel(errSilent) })
	over := time.AfterFunc(bound, func() { cancel(errSilent) })
	return ctx, func() { late.Reset(silence) }, func() { late.Stop(); over.Stop(); cancel(nil) }
}

// whySilent is why a question under a context of together has no answer: err, or that it was given up.
func whySilent(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}
