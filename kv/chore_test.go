package kv

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Whoever waits for a chore is told that it failed, and has it tried again.
func TestAChoreThatFailedIsNotDone(t *testing.T) {
	broken := errors.New("the disk is broken")
	var fails atomic.Bool
	for what, do := range map[string]func(s *Store) error{
		"defragment": func(s *Store) error { return Defragment(t.Context(), s) },
		"reclaim":    func(s *Store) error { return Reclaim(t.Context(), s) },
	} {
		n := openNodeWith(t, Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
		n.apply(put("a", "1"), put("a", "2"))
		n.compactor.stop()
		n.compactor = startChore(n.options.Logger, "it cannot be done", func(context.Context) (bool, error) {
			if fails.Load() {
				return true, broken
			}
			return false, nil
		})
		for i := range 3 {
			fails.Store(i < 2)
			if err := do(n.Store); errors.Is(err, broken) != fails.Load() || err != nil && !fails.Load() {
				t.Errorf("%s, fails %t: %v", what, fails.Load(), err)
			}
		}
	}
}

// A chore that is stopped ends the step under way, and tells whoever waits for it.
func TestAChoreThatIsStoppedEndsItsStep(t *testing.T) {
	begun := make(chan struct{})
	c := startChore(slog.New(slog.DiscardHandler), "it cannot be done", func(ctx context.Context) (bool, error) {
		close(begun)
		<-ctx.Done()
		return true, ctx.Err()
	})
	<-begun
	told := make(chan error)
	go func() { told <- c.finish(t.Context()) }()
	c.stop()
	if err := <-told; !errors.Is(err, ErrClosed) {
		t.Errorf("who waited was told %v", err)
	}
}
