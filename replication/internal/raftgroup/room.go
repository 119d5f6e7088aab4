package raftgroup

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// roomPause is how long the writer waits before it tries again whether there is room.
const roomPause = 100 * time.Millisecond

// room is what the writer knows of a disk that is full. It is no failure: nothing that waits for the disk is answered,
// neither votes nor entries are, and so the others count without this node. Its loop goes on, and finds the disk stuck.
// lasts may be called from any goroutine, everything else is the writer's.
type room struct {
	clock clock.Clock
	log   *slog.Logger
	began time.Time    // zero while there is room
	since atomic.Int64 // began, in nanoseconds, 0 while there is room
}

// await waits a moment, and reports whether to try again: not when ctx has ended.
func (r *room) await(ctx context.Context, err error) bool {
	if r.began.IsZero() {
		r.began = r.clock.Now()
		r.since.Store(r.began.UnixNano())
		r.log.Error("the disk is full: the log finds no room, and until it does this node acknowledges and votes for "+
			"nothing; it goes on by itself once there is room", "err", err)
	}
	timer := r.clock.NewTimer(roomPause)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// found says that something was written.
func (r *room) found() {
	if !r.began.IsZero() {
		r.log.Warn("the log has found room again", "after", r.clock.Now().Sub(r.began))
		r.began = time.Time{}
		r.since.Store(0)
	}
}

// lasts returns for how long there has been no room, zero if there is.
func (r *room) lasts() time.Duration {
	since := r.since.Load()
	if since == 0 {
		return 0
	}
	return max(time.Duration(r.clock.Now().UnixNano()-since), 1)
}
