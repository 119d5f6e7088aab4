package door

import (
	"container/list"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection that was let in.
type conn struct {
	net.Conn
	door     *Door
	since    time.Time
	patience *time.Timer
	stranger atomic.Bool  // as place says, without the lock
	heard    atomic.Int64 // bytes, while it is a stranger
	said     atomic.Bool  // something was written to it
	busy     atomic.Int64 // requests under way
	idle     atomic.Int64 // since when there were none, in Unix nanoseconds
	proved   atomic.Bool  // it did what the listener is for
	nameless atomic.Bool  // by a handshake of TLS in which nothing was shown
	account  *toll        // of where it comes from, nil if from nowhere; guarded by Door.mu
	inTurns  atomic.Bool  // what is heard belongs to a request: see Rests
	turn     sync.Mutex   // held as that is passed on, or is not any more
	retired  bool         // guarded by turn

	// What follows is guarded by Door.mu.
	place    *list.Element // nil once it is a stranger no longer
	retire   func() bool   // nil: it is not among those that may be idle
	due      int64         // not before then may it leave, in Unix nanoseconds
	at       int           // in Door.resting
	gone     bool
	closed   bool
	after    []func() // to call once it is closed
	farewell func()   // tells the other side to go; nil if there is nothing to say
}

// Read implements net.Conn. Of strangers who talk too much it hears no more.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.stranger.Load() && c.heard.Add(int64(n)) > MostStrangerBytes {
		c.expel("a connection said too much before it showed what it is", "most", MostStrangerBytes)
		return 0, net.ErrClosed
	}
	if n > 0 && c.inTurns.Load() && !c.passes() {
		return 0, net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if !c.said.Load() {
		c.said.Store(true)
	}
	return c.Conn.Write(p)
}

// end closes a connection that is a stranger. Who has said nothing is owed no answer, and to whom nothing was said
// loses none; of anybody else what was written may be why he is refused.
func (c *conn) end() {
	if c.heard.Load() == 0 || !c.said.Load() {
		drop(c.Conn)
	} else {
		c.Conn.Close()
	}
}

// Close closes the connection and gives its place to another.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.door.mu.Lock()
	c.door.forget(c)
	after := c.after
	c.closed, c.after = true, nil
	c.door.mu.Unlock()
	for _, f := range after {
		f()
	}
	return err
}

// OnClose has f called when the connection is closed, at once if it is.
func (c *conn) OnClose(f func()) {
	c.door.mu.Lock()
	if !c.closed {
		c.after = append(c.after, f)
		f = nil
	}
	c.door.mu.Unlock()
	if f != nil {
		f()
	}
}

// Dismiss ends the connection: within so much time if it knows a farewell, so that what is under way can end, else at
// once.
func (c *conn) Dismiss(within time.Duration) {
	c.door.mu.Lock()
	farewell := c.farewell
	c.door.mu.Unlock()
	if farewell == nil {
		c.Close()
		return
	}
	end := time.AfterFunc(within, func() { c.Close() })
	c.OnClose(func() { end.Stop() })
	go farewell() // which may wait for somebody who reads nothing, until the connection is closed
}

// expire closes a connection that is a stranger still.
func (c *conn) expire() {
	c.expel("a connection did not show in time what it is", "time", c.door.options.Patience)
}

// expel closes a connection if it is a stranger.
func (c *conn) expel(text string, about ...any) {
	d := c.door
	d.mu.Lock()
	stranger := c.place != nil
	if stranger {
		d.forget(c)
		d.refused[ReasonStranger]++
	}
	d.mu.Unlock()
	if stranger {
		c.end()
		d.complain(ReasonStranger, text, about...)
	}
}

// NetConn returns the connection as the system knows it.
func (c *conn) NetConn() net.Conn { return c.Conn }

// RemoteAddr returns an address by which the connection can be vouched for.
func (c *conn) RemoteAddr() net.Addr { return addr{c.Conn.RemoteAddr(), c} }

type addr struct {
	net.Addr
	conn *conn
}

// Vouch says that the connection at this address has shown what it is.
func (a addr) Vouch() {
	d := a.conn.door
	if d.options.VouchProves {
		a.prove()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.conn.place != nil {
		d.acquaint(a.conn)
		keepAlive(a.conn.Conn) // before another who vouches for it goes on, and sets what he wants of the socket
	}
}

// Farewell sets what a connection is told before it is ended because it was dismissed.
func (a addr) Farewell(f func()) {
	a.conn.door.mu.Lock()
	defer a.conn.door.mu.Unlock()
	a.conn.farewell = f
}

// Farewell has f called when a connection is to end soon, to tell the other side; f must be safe beside the use of the
// connection. One that came through no door is left alone.
func Farewell(c net.Conn, f func()) {
	if a, ok := c.RemoteAddr().(interface{ Farewell(func()) }); ok {
		a.Farewell(f)
	}
}

// Vouch says that a connection has shown what it is: it is a stranger no longer. A connection that came through no door
// is left alone.
func Vouch(c net.Conn) {
	if a, ok := c.RemoteAddr().(interface{ Vouch() }); ok {
		a.Vouch()
	}
}

// mostErrorBytes bounds what of a stranger's words is repeated.
const mostErrorBytes = 200

// Failed says why the handshake of a connection failed.
func (a addr) Failed(err error) {
	d := a.conn.door
	d.mu.Lock()
	over := a.conn.gone || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) // it left, or had to
	if !over {
		d.refused[ReasonHandshake]++
	}
	d.mu.Unlock()
	if !over {
		text := err.Error()
		text = strings.ToValidUTF8(text[:min(len(text), mostErrorBytes)], "")
		d.complain(ReasonHandshake, "a handshake failed", "from", a.Addr.String(), "err", text)
	}
}

// Failed says that the handshake of the connection from there failed. One that came through no door is left alone.
func Failed(from net.Addr, err error) {
	if a, ok := from.(interface{ Failed(error) }); ok {
		a.Failed(err)
	}
}

// count counts something that the connection from there did, and tells the log.
func (a addr) count(reason, text string) {
	a.conn.door.count(reason)
	a.conn.door.complain(reason, text, "from", a.Addr.String())
}

// Trifled says that the connection from there, which is closed, asked nothing and sent frames that ask for nothing. One
// that came through no door is left alone.
func Trifled(from net.Addr) {
	if a, ok := from.(addr); ok {
		a.count(ReasonTrifles, "a connection on which nothing was asked ends: it sent frames that ask for nothing")
	}
}

// Late says that a request of the connection from there, which stays, was ended because it did not come in time. One
// that came through no door is left alone.
func Late(from net.Addr) {
	if a, ok := from.(addr); ok {
		a.count(ReasonLate, "a request was ended that did not come in time")
	}
}

// Much says that a request of the connection from there, which stays, was refused because too much is kept of its
// client. One that came through no door is left alone.
func Much(from net.Addr) {
	if a, ok := from.(addr); ok {
		a.count(ReasonMuch, "a request was refused: of its client more is kept than of others, and too much of all")
	}
}

// complaintInterval is how often a door tells the log that it keeps connections out, for one reason.
const complaintInterval = 10 * time.Second

// complaint remembers when the log was told.
type complaint struct {
	mu     sync.Mutex
	last   time.Time
	silent int // occasions since
}

// due says whether the log is to be told now, and on how many occasions it was not told.
func (c *complaint) due(now time.Time) (silent int, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.IsZero() && now.Sub(c.last) < complaintInterval {
		c.silent++
		return 0, false
	}
	silent, c.silent, c.last = c.silent, 0, now
	return silent, true
}

// complain tells the log why a connection was closed, not too often for the same reason.
func (d *Door) complain(reason, text string, about ...any) {
	if silent, due := d.log[reason].due(time.Now()); due {
		d.options.Logger.Warn(text, append([]any{"listener", d.options.Name, "more", silent}, about...)...)
	}
}
