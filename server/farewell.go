package server

import (
	"bytes"
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
	at       *clients
	pace     pace // of what is read, by one goroutine
	requests underway
	measured atomic.Bool // headers or data were written since the last ping of the client

	closing sync.Once
	closed  chan struct{}

	// Since the client was heard last: requests whose answers began, and answers that were nothing but an error.
	answers, refusals atomic.Int64
	sent              atomic.Int64  // frames that the client may send because of what he was sent
	wrote             atomic.Int64  // when he was sent the last of it, in Unix nanoseconds
	waits             atomic.Bool   // he is not heard now
	news              chan struct{} // one of these has changed

	waking sync.Mutex // over the deadline of reading, and
	called bool       // it is past, to hear of requests that are to be ended

	// Of the goroutine that reads.
	buffer, unread []byte
	failed         error     // behind what is unread
	ending         []byte    // of frames that gRPC is to hear before that
	owes           time.Time // since when he is in debt, whenever he is to be heard

	mu     sync.Mutex
	header [frameHeaderBytes]byte
	have   int      // bytes of header that were written
	left   int      // bytes of the frame's body that were not
	ended  []uint32 // streams whose last frame is being written
	proved bool     // one has begun
	within bool     // headers: more of them are to follow, and nothing else
	wished bool
	said   bool   // the last word
	code   []byte // instead of what is left of the frame's body, as long as that; empty: it goes out as it is
}

func newLeavable(c net.Conn, at *clients) *leavable {
	l := &leavable{Conn: c, at: at, closed: make(chan struct{}), news: make(chan struct{}, 1)}
	l.requests.begin = func() (end func()) { return door.Request(c.RemoteAddr()) }
	l.requests.late = func() { door.Late(c.RemoteAddr()) }
	l.requests.much = func() { door.Much(c.RemoteAddr()) }
	l.requests.kept, l.requests.room, l.requests.wake = &at.fresh, l.tell, l.wake
	l.requests.close = func() { l.Close() }
	l.requests.site, l.requests.source = door.Party(c.RemoteAddr())
	l.requests.from, l.requests.asks = c.RemoteAddr().String(), at.asks
	l.pace = newPace(time.Now(), &at.debtors, l.heard)
	l.pace.body, l.pace.replies = l.requests.body, l.replies
	l.pace.measured = func() bool { return l.measured.Swap(false) }
	return l
}

// RemoteAddr returns an address by which the client is known.
func (c *leavable) RemoteAddr() net.Addr { return clientAddr{c.Conn.RemoteAddr(), c} }

// Close implements net.Conn.
func (c *leavable) Close() error {
	c.closing.Do(func() {
		close(c.closed)
		c.requests.leave()
	})
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

// pending reports whether there is something to be said between two frames, or instead of one. mu is held.
func (c *leavable) pending() bool { return c.wished || len(c.code) > 0 || c.requests.ending.Load() > 0 }

// say writes what is to be said if this is a place for it. mu is held.
func (c *leavable) say() error {
	if !c.wished || c.have > 0 || c.left > 0 || c.within {
		return nil
	}
	if c.wished = false; c.said {
		return nil
	}
	last, over := c.requests.over()
	words := goAway
	if c.said = over; over {
		words = bytes.Clone(goAway)
		binary.BigEndian.PutUint32(words[goAwayLast:], last)
	}
	_, err := c.Conn.Write(words)
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
		frame := p[n:]
		if c.pending() {
			frame = c.coded(frame[:c.restOfFrame(frame)])
		} else {
			c.follow(frame)
		}
		var more int
		more, err = c.Conn.Write(frame)
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

// coded returns a frame, or what there is of it, with the code of a reset of this side instead of gRPC's. mu is held.
func (c *leavable) coded(frame []byte) []byte {
	n := len(c.code) - c.left
	if n <= 0 || c.have > 0 {
		return frame
	}
	frame = append(bytes.Clone(frame[:len(frame)-n]), c.code[:n]...)
	c.code = c.code[n:]
	return frame
}

// follow keeps count of the frames in p, which goes out as it is: so does what is left of a body that begins in it,
// though its request was refused meanwhile. mu is held.
func (c *leavable) follow(p []byte) {
	for len(p) > 0 {
		p = p[c.restOfFrame(p):]
	}
	if len(c.code) != c.left {
		c.code = nil
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
		c.have, c.left = 0, lengthOf(c.header)
		if kind := c.header[3]; kind == frameHeaders || kind == frameContinuation {
			c.within = c.header[4]&flagEndHeaders == 0
		}
		c.judge()
		if ends(c.header) {
			c.ended = append(c.ended, streamOf(c.header))
		}
		if c.code = nil; c.header[3] == frameReset {
			c.code = c.requests.codeOf(streamOf(c.header))
		}
	}
	body := min(c.left, len(p)-n)
	c.left -= body
	return n + body
}

// judge counts what a frame of this side says of the client, and what he may say because of it. Headers that are not
// the last frame of an answer are its first; who has such an answer asked for something. mu is held.
func (c *leavable) judge() {
	kind, last := c.header[3], c.header[4]&flagEndStream != 0
	if kind == frameReset {
		c.refusals.Add(1)
		c.tell()
	}
	if kind != frameHeaders && kind != frameData {
		return
	}
	c.measured.Store(true)
	c.wrote.Store(time.Now().UnixNano())
	if c.sent.Load() < mostCredit {
		c.sent.Add(int64(answersEach + c.left/windowStep))
	}
	switch {
	case kind == frameData:
	case !last:
		c.requests.answers(streamOf(c.header), false)
		c.answers.Add(1)
		if !c.proved {
			c.proved = true
			door.Prove(c.Conn.RemoteAddr())
			c.requests.proves(&c.at.known)
		}
	case c.requests.answers(streamOf(c.header), true):
		c.refusals.Add(1)
	}
	c.tell()
}
