package door

import (
	"container/list"
	"net"
	"sync"
	"time"
)

// conn is a connection that was let in.
type conn struct {
	net.Conn
	door     *Door
	patience *time.Timer

	// What follows is guarded by Door.mu.
	place *list.Element // nil once it is a stranger no longer
	gone  bool
}

// Close closes the connection and gives its place to another.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.door.mu.Lock()
	defer c.door.mu.Unlock()
	c.door.forget(c)
	return err
}

// expire closes a connection that is a stranger still.
func (c *conn) expire() {
	d := c.door
	d.mu.Lock()
	stranger := c.place != nil
	if stranger {
		d.forget(c)
		d.refused[ReasonStranger]++
	}
	d.mu.Unlock()
	if stranger {
		c.Conn.Close()
		d.complain("a connection did not show in time what it is", "time", d.options.Patience)
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
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acquaint(a.conn)
}

// Vouch says that a connection has shown what it is: it is a stranger no longer. A connection that came through no door
// is left alone.
func Vouch(c net.Conn) {
	if a, ok := c.RemoteAddr().(interface{ Vouch() }); ok {
		a.Vouch()
	}
}

// complaintInterval is how often a door tells the log that it keeps connections out.
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

func (d *Door) complain(text string, about ...any) {
	if silent, due := d.log.due(time.Now()); due {
		d.options.Logger.Warn(text, append([]any{"listener", d.options.Name, "more", silent}, about...)...)
	}
}
