package server

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// A place that hangs does not keep a node that stops from making durable what it has.
func TestAPlaceThatHangsIsNotWaitedFor(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var told strings.Builder
		c := &Config{ShutdownTimeout: 2 * drainTime, Archive: Archive{To: "file:///hung"}}
		s := &server{config: c, settled: newSettled(c, nil), logger: slog.New(slog.NewTextHandler(&told, nil))}
		s.endCarrying()
		if told.Len() > 0 {
			t.Errorf("nothing is carried: %s", told.String())
		}
		hangs := make(chan struct{})
		s.carrying.Go(func() { <-hangs })
		s.endCarrying()
		if !strings.Contains(told.String(), "file:///hung") {
			t.Errorf("it says %q", told.String())
		}
		close(hangs)
		s.carrying.Wait()
	})
}
