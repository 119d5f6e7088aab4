package raftgroup

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
)

// Pauses before it is tried again whether there is room. What is short is tried often; what may be as large as a whole
// state at longer and longer intervals, since each try takes what is left from others.
const (
	roomPause        = 100 * time.Millisecond
	longestRoomPause = 10 * time.Second
)

// Room is what is known of a disk that is full. It is no failure: nothing that waits for the disk is answered, neither
// votes nor entries are, and so the others count without this node. Lasts may be called from any goroutine, everything
// else by the one that writes.
type Room struct {
	clock   clock.Clock
	log     *slog.Logger
	who     string // what finds no room
	then    string // what is not done until it does
	longest time.Duration
	pause   time.Duration
	began   time.Time    // zero while there is room
	since   atomic.Int64 // began, in nanoseconds, 0 while there is room
}

// NewRoom returns the room of a machine, for [Config.Room].
func NewRoom(c clock.Clock, log *slog.Logger) *Room {
	return &Room{
		clock: c, log: log, who: "what has to be saved before this node goes on", then: "applies nothing",
		longest: longestRoomPause,
	}
}

// newLogRoom returns that of a log.
func newLogRoom(c clock.Clock, log *slog.Logger) *Room {
	return &Room{clock: c, log: log, who: "the log", then: "acknowledges and votes for nothing", longest: roomPause}
}

// Await waits a moment, and reports whether to try again what failed with err: not when ctx has ended.
func (r *Room) Await(ctx context.Context, err error) bool {
	if r.began.IsZero() {
		r.began, r.pause = r.clock.Now(), roomPause
		r.since.Store(r.began.UnixNano())
		r.log.Error("the disk is full: "+r.who+" finds no room, and until it does this node "+r.then+"; it goes on by "+
			"itself once there is room", "err", err)
	}
	timer := r.clock.NewTimer(r.pause)
	defer timer.Stop()
	r.pause = min(2*r.pause, r.longest)
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// Found says that something was written.
func (r *Room) Found() {
	if !r.began.IsZero() {
		r.log.Warn(r.who+" has found room again", "after", r.clock.Now().Sub(r.began))
		r.began = time.Time{}
		r.since.Store(0)
	}
}

// Lasts returns for how long there has been no room, zero if there is, or if r is nil.
func (r *Room) Lasts() time.Duration {
	if r == nil {
		return 0
	}
	since := r.since.Load()
	if since == 0 {
		return 0
	}
	return max(time.Duration(r.clock.Now().UnixNano()-since), 1)
}
