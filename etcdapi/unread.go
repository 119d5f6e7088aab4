package etcdapi

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock"
)

const (
	// unreadTime is for how long the client of a stream may read nothing of it, where the store keeps for that stream
	// what it had when it began: each such stream may hold as much of the disk as there is then.
	unreadTime = 10 * time.Minute
	// unreadLook is how often it is looked.
	unreadLook = unreadTime / 10
)

var errUnread = status.Errorf(codes.ResourceExhausted, "mimir: nothing of this was read for %v, for which the store "+
	"has to keep what it had: ask again, and read what comes", unreadTime)

// unread is how long the client of a stream has read nothing.
type unread struct {
	clock clock.Clock
	since atomic.Pointer[time.Time] // something waits for the client; nil: nothing does
}

// wait has f wait for the client.
func (u *unread) wait(f func() error) error {
	now := u.clock.Now()
	u.since.Store(&now)
	defer u.since.Store(nil)
	return f()
}

func (u *unread) late() bool {
	since := u.since.Load()
	return since != nil && u.clock.Now().Sub(*since) >= unreadTime
}

// whileRead runs send, which answers a stream, and returns what comes of it, or errUnread while send waits for its
// client. Nothing else ends a wait for one who reads nothing, and yet is there: what send waits for ends when the
// handler of the stream has returned, and send does then.
func whileRead(c clock.Clock, send func(u *unread) error) error {
	u, done := &unread{clock: c}, make(chan error, 1)
	go func() { done <- send(u) }()
	ticker := c.NewTicker(unreadLook)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C():
			if u.late() {
				return errUnread
			}
		}
	}
}
