package etcdapi

import (
	"context"
	"testing"
)

// A stream that has ended has no watches, whatever was asked for on it is done later, and is subtracted once.
func TestAStreamThatHasEndedIsCountedOnce(t *testing.T) {
	all := &API{}
	all.watching.changed(0, 2) // of another stream
	ctx, fail := context.WithCancelCause(t.Context())
	w := &watchStream{API: all, ctx: ctx, fail: fail, watches: make(map[int64]*oneWatch), ended: make(map[int64]bool)}
	w.mu.Lock()
	w.ended[1], w.ended[2] = true, true
	w.unlock()
	if n := all.watching.all.Load(); n != 4 {
		t.Error(n)
	}
	w.close()
	if err := w.cancel(1); err == nil {
		t.Error("a watch of a stream that has ended is cancelled")
	}
	w.mu.Lock() // as a watch does whose event was on its way
	w.unlock()
	if all, streams := all.watching.all.Load(), all.watching.streams.Load(); all != 2 || streams != 1 {
		t.Errorf("%d watches of %d streams", all, streams)
	}
}
