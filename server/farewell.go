package server

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/server/door"
)

// leavableTLS is one of TLS, which says so to who asks for what the client showed.
type leavableTLS struct {
	*leavable
	secure *tls.Conn
}

// ConnectionState returns that of TLS.
func (c leavableTLS) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }

// goAway is a frame that tells a client of HTTP/2 to begin no more requests on its connection, and that all it has
// begun are dealt with (RFC 9113, section 6.8). With another last stream, those beyond that one are not, and may be
// sent anew.
var goAway = []byte{
	0, 0, 8, 7, 0, 0, 0, 0, 0, // length, kind, flags, stream
	0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, // last stream, no error
}

const frameHeaderBytes, goAwayLast = 9, 9

// leavable is a connection that speaks HTTP/2. Its client can be asked to leave it, which its server cannot do: the
// wish is written between two of the server's frames. And its client is heard no faster than it says something.
type leavable struct {
	net.Conn
	pace     pace // of what is read, by one goroutine
	requests underway
	measured atomic.Bool // headers or data were written since the last ping of the client

	closing sync.Once
	closed  chan struct{}

	// Since the client was heard last: requests whose answers began, and answers that were nothing but an error.
	answers, refusals atomic.Int64

	mu     sync.Mutex
	header [frameHeaderBytes]byte
	have   int      // bytes of header that were written
	left   int      // bytes of the frame's body that were not
	ended  []uint32 // streams whose last frame is being written
	opened int      // answers that began, and have not ended
	proved bool     // one has begun
	within bool     // headers: more of them are to follow, and nothing else
	wished bool
	said   bool // the last word
}

func newLeavable(c net.Conn, others *debtors) *leavable {
	l := &leavable{Conn: c, closed: make(chan struct{})}
	l.requests.begin = func() (end func()) { return door.Request(c.RemoteAddr()) }
	l.pace = newPace(time.Now(), others, l.requests.heard)
	l.pace.measured = func() bool { return l.measured.Swap(false) }
	return l
}

// longestWait bounds how long a client waits that sends nothing but trifles, at a time: its connection may be closed.
// While it waits like that it is heard no more at a time than what may be trifles of as long.
const longestWait = time.Second

// Read implements net.Conn. Once no request is taken any more it fails, when the client, who is told then, has left or
// the time for that is over: a connection that is closed while he sends something is reset, and he would not hear why.
func (c *leavable) Read(p []byte) (int, error) {
	c.wait()
	n, err := c.Conn.Read(p[:c.pace.bytes(len(p), time.Now())])
	c.pace.hear(p[:n], time.Now())
	if _, over := c.requests.over(); !over {
		return n, err
	}
	c.farewell()
	for err == nil {
		_, err = c.Conn.Read(p)
	}
	return 0, net.ErrClosed
}

// wait returns when the client may be heard: its requests that are answered meanwhile count.
func (c *leavable) wait() {
	step := 10 * time.Millisecond
	for waited := time.Duration(0); waited < longestWait; waited, step = waited+step, 2*step {
		now := time.Now()
		c.pace.answered(int(c.answers.Swap(0)), int(c.refusals.Swap(0)), now)
		debt := c.pace.debt(now)
		if debt == 0 {
			break
		}
		if waited == 0 {
			c.pace.others.n.Add(1)
			defer c.pace.others.n.Add(-1)
		}
		if !c.rest(min(debt, step, longestWait-waited)) {
			break
		}
	}
}

// rest returns after d, and false if the connection was closed meanwhile.
func (c *leavable) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closed:
		return false
	}
}

// Close implements net.Conn.
func (c *leavable) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// retire returns false if requests are under way. Else none is taken from now on, and a farewell is to be said.
func (c *leavable) retire() bool { return c.requests.retire() }

// NetConn returns the connection below.
func (c *leavable) NetConn() net.Conn { return c.Conn }

// farewell asks the client to leave. Who asked nothing and whose place is taken is told what was the last of his
// requests that was dealt with, so that he knows of one that he is just sending that it was not.
func (c *leavable) farewell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wished = true
	c.say() //nolint:errcheck // the connection is about to end
}

// say writes the wish if this is a place for it. mu is held.
func (c *leavable) say() error {
	if !c.wished || c.have > 0 || c.left > 0 || c.within {
		return nil
	}
	c.wished = false
	last, over := c.requests.over()
	if c.said {
		return nil
	}
	word := goAway
	if c.said = over; over {
		word = append([]byte(nil), goAway...)
		binary.BigEndian.PutUint32(word[goAwayLast:], last)
	}
	_, err := c.Conn.Write(word)
	return err
}

// Write implements net.Conn. What it is given may end anywhere in a frame.
func (c *leavable) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for err == nil && n < len(p) {
		if err = c.say(); err != nil {
			return n, err
		}
		end := len(p)
		if c.wished {
			end = n + c.restOfFrame(p[n:])
		} else {
			c.follow(p[n:])
		}
		var more int
		more, err = c.Conn.Write(p[n:end])
		n += more
	}
	if err == nil {
		err = c.say()
	}
	if len(c.ended) > 0 {
		c.requests.said(c.ended)
		c.ended = c.ended[:0]
	}
	return n, err
}

// follow keeps count of the frames in p. mu is held.
func (c *leavable) follow(p []byte) {
	for len(p) > 0 {
		p = p[c.restOfFrame(p):]
	}
}

// restOfFrame returns how many bytes of p belong to the frame that is being written, and counts them. mu is held.
func (c *leavable) restOfFrame(p []byte) int {
	n := 0
	if c.left == 0 {
		n = copy(c.header[c.have:], p)
		if c.have += n; c.have < frameHeaderBytes {
			return n
		}
		c.have, c.left = 0, int(c.header[0])<<16|int(c.header[1])<<8|int(c.header[2])
		if kind := c.header[3]; kind == frameHeaders || kind == frameData {
			c.measured.Store(true)
		}
		if kind := c.header[3]; kind == frameHeaders || kind == frameContinuation {
			c.within = c.header[4]&flagEndHeaders == 0
		}
		c.judge(c.header[3], c.header[4])
		if ends(c.header) {
			c.ended = append(c.ended, streamOf(c.header))
		}
	}
	body := min(c.left, len(p)-n)
	c.left -= body
	return n + body
}

// judge counts what a frame of this side says of the client. Headers that are not the last frame of an answer are its
// first; who has such an answer asked for something. mu is held.
func (c *leavable) judge(kind, flags byte) {
	switch {
	case kind == frameReset:
		c.refusals.Add(1)
	case kind != frameHeaders:
	case flags&flagEndStream == 0:
		c.opened++
		c.answers.Add(1)
		if !c.proved {
			c.proved = true
			door.Prove(c.Conn.RemoteAddr())
		}
	case c.opened > 0:
		c.opened--
	default:
		c.refusals.Add(1)
	}
}
