package etcdapi

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock"
)

const (
	// unreadTime is for how long the client of a stream may be waited for, where the store keeps for that stream what
	// it had when it began: each such stream may hold as much of the disk as there is then. What he reads adds a second
	// for each unreadPace bytes.
	unreadTime = 10 * time.Minute
	unreadPace = 16 << 10
	// unreadLook is how often it is looked.
	unreadLook = unreadTime / 10
)

var errUnread = status.Errorf(codes.ResourceExhausted, "mimir: this was waited for until it is read for more than %v "+
	"and a second for each %d bytes, for which the store has to keep what it had: ask again, and read what comes",
	unreadTime, unreadPace)

// unread is how long the client of a stream was waited for.
type unread struct {
	clock clock.Clock

	mu     sync.Mutex
	since  time.Time     // something waits for the client; zero: nothing does
	waited time.Duration // before that
	bytes  int64         // taken
}

// wait has f wait for the client to take so many bytes.
func (u *unread) wait(bytes int, f func() error) error {
	u.mu.Lock()
	u.since = u.clock.Now()
	u.mu.Unlock()
	err := f()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waited += u.clock.Now().Sub(u.since)
	u.since, u.bytes = time.Time{}, u.bytes+int64(bytes)
	return err
}

func (u *unread) late() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	waited := u.waited
	if !u.since.IsZero() {
		waited += u.clock.Now().Sub(u.since)
	}
	return waited >= unreadTime+time.Duration(u.bytes/unreadPace)*time.Second
}

// whileRead runs send, which answers a stream, and returns what comes of it, or errUnread once send has waited too long
// for its client. What send waits for ends when the handler of the stream has returned, and send does then.
func whileRead(c clock.Clock, send func(u *unread) error) error {
	u := &unread{clock: c}
	left, err := clock.Unless(c, unreadLook, u.late, func() error { return send(u) })
	if left {
		return errUnread
	}
	return err
}
