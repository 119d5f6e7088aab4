package space

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// Config is what a Watch needs. The functions are called by one goroutine.
type Config struct {
	// QuotaBytes bounds what the store takes, 0 for no bound; ReserveBytes is what must stay free on the disk.
	QuotaBytes, ReserveBytes int64
	// Used returns what the store takes, Free what the disk has left.
	Used func() int64
	Free func() (uint64, error)
	// Raised reports whether the alarm of this node is raised, and Raise raises it for the fleet.
	Raised  func() bool
	Raise   func(context.Context) error
	Ballast *Ballast
	Clock   clock.Clock
	Logger  *slog.Logger
}

const (
	// lookInterval is how often the watch looks: often enough that a fast disk does not take the reserve in between.
	lookInterval = 100 * time.Millisecond
	// tellInterval is how often an alarm that is raised, and holds, is told anew.
	tellInterval = time.Minute
	// raiseTimeout bounds one try to raise the alarm.
	raiseTimeout = 5 * time.Second
)

// Watch watches over the room of one node.
type Watch struct {
	Config
	told      time.Time // when the alarm was last raised by this watch
	complaint string    // that the log was last told
}

// New returns a watch that does nothing before Run.
func New(c Config) *Watch { return &Watch{Config: c} }

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	ticker := w.Clock.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

func (w *Watch) look(ctx context.Context) {
	free, err := w.Free()
	if err != nil {
		w.complain("free space cannot be watched: "+err.Error(), slog.LevelWarn)
	} else if err := w.Ballast.Settle(int64(free), w.ReserveBytes, w.Logger); err != nil {
		w.complain("ballast: "+err.Error(), slog.LevelWarn)
	}
	trouble := ""
	switch used := w.Used(); {
	case w.QuotaBytes > 0 && used > w.QuotaBytes:
		trouble = fmt.Sprintf("the store has outgrown quota-backend-bytes, which is %d", w.QuotaBytes)
	case err == nil && int64(free) < w.ReserveBytes:
		trouble = fmt.Sprintf("the disk has less free than the reserve, which is %d", w.ReserveBytes)
	default:
		w.complaint = ""
		return
	}
	now := w.Clock.Now()
	raised := w.Raised()
	if raised && now.Sub(w.told) < tellInterval {
		return
	}
	if !raised {
		w.complain("NOSPACE is raised: "+trouble+"; the fleet takes no writes but deletes until there is room and the "+
			"alarm is disarmed", slog.LevelError)
	}
	ctx, cancel := context.WithTimeout(ctx, raiseTimeout)
	defer cancel()
	if err := w.Raise(ctx); err != nil {
		w.complain("the alarm cannot be raised: "+err.Error(), slog.LevelError)
		return
	}
	w.told = now
}

// complain tells the log once of each thing.
func (w *Watch) complain(text string, level slog.Level) {
	if text != w.complaint {
		w.complaint = text
		w.Logger.Log(context.Background(), level, text)
	}
}
