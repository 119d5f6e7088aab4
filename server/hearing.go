package server

import (
	"errors"
	"net"
	"time"

	"github.com/mimir-kv/mimir/server/door"
)

// clients are what those of a port that speak HTTP/2 have in common.
type clients struct {
	debtors      debtors
	known, fresh kept // of those that have had an answer, and of others
	asks         *asks
}

// bound says how many bytes are kept of each kind.
func (c *clients) bound(known, fresh int64) {
	if c.known.others == nil { // before anybody is heard
		c.known.others, c.fresh.others, c.asks = &c.fresh, &c.known, newAsks()
	}
	c.known.most.Store(known)
	c.fresh.most.Store(fresh)
}

// clientAddr is where a client comes from, and who it is.
type clientAddr struct {
	net.Addr
	client *leavable
}

const (
	// longestWait bounds how long a client waits that sends nothing but trifles, at a time, unless there are many of
	// those: its connection may be closed. So long, too, it is waited that what came whole of a client is taken, of
	// whom too much is kept.
	longestWait = time.Second
	// longestDebt is after what time a client goes that has never asked anything and sends trifles all the time.
	longestDebt = door.DefaultPatience
	// takingTime is for how long after he was sent something a window of a client says that he takes it: else he would
	// keep his place by one now and then, of those that he may send for nothing, and ask nothing.
	takingTime = 30 * time.Second
	// What is read at a time, of who had no answer yet and of others.
	freshBytes, knownBytes = 1 << 10, 32 << 10
)

// Read implements net.Conn. Once no request is taken any more it fails, when the client, who is told then, has left or
// the time for that is over: a connection that is closed while he sends something is reset, and he would not hear why.
// What is heard ends with what was asked for: gRPC asks for one frame after the other, so that it has opened a request
// before more is heard.
//
// Between two frames of the client it hears of requests that are to be ended.
func (c *leavable) Read(p []byte) (n int, err error) {
	for {
		if n = c.ends(p); n > 0 {
			return n, nil
		}
		if len(c.unread) > 0 {
			n = copy(p, c.unread)
			c.unread = c.unread[n:]
		} else if n, err = c.fill(p); n == 0 && c.woken(err) {
			continue
		}
		break
	}
	if n > 0 {
		c.pace.hear(p[:n], time.Now())
	}
	if _, over := c.requests.over(); !over {
		return n, err
	}
	c.farewell()
	for err == nil {
		_, err = c.Conn.Read(p)
	}
	return 0, net.ErrClosed
}

// ends puts into p what has gRPC end requests, if this is a place for it.
func (c *leavable) ends(p []byte) (n int) {
	if len(c.ending) == 0 && c.mayEnd() {
		c.ending = c.requests.endings()
	}
	n = copy(p, c.ending)
	c.ending = c.ending[n:]
	return n
}

// mayEnd reports whether there is something of that kind, and a place for it.
func (c *leavable) mayEnd() bool { return c.pace.between() && c.requests.owing() }

// errWoken says that nothing was read because requests are to be ended.
var errWoken = errors.New("requests are to be ended")

// wake has whoever reads hear of requests that are to be ended, also if nothing comes.
func (c *leavable) wake() {
	c.waking.Lock()
	c.called = true
	c.Conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a connection that knows none is closed in the end
	c.waking.Unlock()
	c.tell()
}

// woken reports whether nothing was read because of wake, and has reading go on.
func (c *leavable) woken(err error) bool {
	if errors.Is(err, errWoken) {
		return true
	}
	var late net.Error
	if !errors.As(err, &late) || !late.Timeout() {
		return false
	}
	c.waking.Lock()
	defer c.waking.Unlock()
	if !c.called {
		return false
	}
	c.called = false
	return c.Conn.SetReadDeadline(time.Time{}) == nil
}

// fill reads on: into p, and what is more than that is left unread.
func (c *leavable) fill(p []byte) (n int, err error) {
	if c.failed != nil {
		return 0, c.failed
	}
	if !c.wait() {
		door.Trifled(c.Conn.RemoteAddr())
		return 0, net.ErrClosed
	}
	if c.mayEnd() {
		return 0, errWoken
	}
	size, now := knownBytes, time.Now()
	if c.pace.fresh() {
		size = freshBytes
	}
	if len(p) >= size {
		return c.Conn.Read(p[:c.pace.bytes(len(p), now)])
	}
	if len(c.buffer) < size {
		c.buffer = make([]byte, size)
	}
	n, err = c.Conn.Read(c.buffer[:c.pace.bytes(size, now)])
	c.unread = c.buffer[:n]
	if n = copy(p, c.unread); n > 0 {
		if c.failed, err = err, nil; c.woken(c.failed) {
			c.failed = nil
		}
	}
	c.unread = c.unread[n:]
	return n, err
}

// wait returns when the client may be heard: his requests that are answered meanwhile count. It returns false if he is
// to go.
func (c *leavable) wait() (stays bool) {
	c.waits.Store(true)
	defer c.waits.Store(false)
	debtors, began, counted := &c.at.debtors, time.Now(), false
	for now := began; ; now = time.Now() {
		c.pace.answered(int(c.answers.Swap(0)), int(c.refusals.Swap(0)), now)
		waited := now.Sub(began)
		debt, beyond := c.pace.debt(now), c.requests.lessen(waited >= longestWait, now)
		switch {
		case c.mayEnd() || c.pace.left > 0 && c.requests.owing(): // what is left of a frame was paid for
			return true
		case debt == 0 && (!beyond || waited >= longestWait):
			if !counted {
				c.owes = time.Time{}
			}
			return true
		case debt == 0 || counted:
		default:
			debtors.n.Add(1)
			defer debtors.n.Add(-1)
			counted = true
			if c.owes.IsZero() {
				c.owes = now
			}
		}
		left := debtors.longest() - waited
		switch {
		case debt == 0: // what has come whole is about to be taken
			left = longestWait - waited
		case left <= 0:
			return true
		case c.pace.fresh() && now.Sub(c.owes) >= longestDebt && c.requests.none():
			return false
		default:
			left = min(left, debt)
		}
		if !c.rest(left) {
			return true
		}
	}
}

// rest returns after d, or as soon as the client was sent something or a message of his was taken, and false if the
// connection was closed meanwhile.
func (c *leavable) rest(d time.Duration) bool {
	timer, began := time.NewTimer(d), time.Now()
	defer timer.Stop()
	defer func() { c.requests.deaf(time.Since(began)) }()
	select {
	case <-timer.C:
	case <-c.news:
	case <-c.closed:
		return false
	}
	return true
}

// tell wakes who waits for what the client is sent.
func (c *leavable) tell() {
	if c.waits.Load() {
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// replies takes up to n of the frames that the client may send because of what he was sent.
func (c *leavable) replies(n int) int {
	n = min(n, int(c.sent.Load()))
	c.sent.Add(-int64(n))
	return n
}

// heard follows a frame of the client.
func (c *leavable) heard(header [frameHeaderBytes]byte) (asked bool) {
	if header[3] == frameWindow && c.sent.Load() > 0 && time.Now().UnixNano()-c.wrote.Load() < int64(takingTime) {
		c.requests.takes()
	}
	return c.requests.heard(header)
}
