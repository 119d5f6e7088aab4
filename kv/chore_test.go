package kv

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
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
		step := func(context.Context) (bool, error) {
			if fails.Load() {
				return true, broken
			}
			return false, nil
		}
		n.compactor = startChore(clock.Real, n.options.Logger, "it cannot be done", step)
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
	logger := slog.New(slog.DiscardHandler)
	c := startChore(clock.Real, logger, "it cannot be done", func(ctx context.Context) (bool, error) {
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

// A chore that goes on failing is tried again after pauses, however many occasions there are, and says so once. Whoever
// waits for it waits for no pause.
func TestAChoreThatGoesOnFailingPauses(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tries, broken := 0, errors.New("the disk is broken")
		logger := slog.New(slog.NewTextHandler(&log, nil))
		c := startChore(clock.Real, logger, "it cannot be done", func(context.Context) (bool, error) {
			tries++
			return true, broken
		})
		defer c.stop()
		for range 30_000 { // half a minute of commits
			c.wakeUp()
			time.Sleep(time.Millisecond)
		}
		virtual.Wait()
		// 0.1, 0.2, ... 6.4 s are 12.7 s, and 10 s each from there on.
		if lines := bytes.Count(log.Bytes(), []byte("\n")); tries < 8 || tries > 10 || lines != 1 {
			t.Errorf("%d tries, and %d lines: %s", tries, lines, log.String())
		}
		before, began := tries, time.Now()
		for range 3 {
			if err := c.finish(t.Context()); !errors.Is(err, broken) {
				t.Error(err)
			}
		}
		if took := time.Since(began); tries < before+3 || took > 0 {
			t.Errorf("%d tries in %s", tries-before, took)
		}
	})
}
