package door

import (
	"net"
	"time"
)

// farewellTime bounds how long the farewell of an idle connection may take.
const farewellTime = time.Second

// Requests has a connection counted as idle from now on, but while a request is under way on it ([Request]) or some of
// what was written has not arrived. Where there is no room for a newcomer, the one that has been idle for longest
// leaves, with its farewell if it knows one ([Farewell]): its owner makes another when he has something to say. retire
// is asked before: it returns false if a request has begun meanwhile, and begins none if it returned true; it must not
// block. A connection that came through no door is left alone.
func Requests(c net.Conn, retire func() bool) {
	if a, ok := c.RemoteAddr().(interface{ requests(func() bool) }); ok {
		a.requests(retire)
	}
}

// Request says that a request begins on the connection from there, until end is called.
func Request(from net.Addr) (end func()) {
	if a, ok := from.(addr); ok {
		return a.request()
	}
	return func() {}
}

func (a addr) requests(retire func() bool) {
	d := a.conn.door
	a.conn.idle.Store(time.Now().UnixNano())
	d.mu.Lock()
	defer d.mu.Unlock()
	if !a.conn.gone {
		d.resting[a.conn] = retire
	}
}

func (a addr) request() (end func()) {
	c := a.conn
	c.busy.Add(1)
	return func() {
		c.idle.Store(time.Now().UnixNano())
		c.busy.Add(-1)
	}
}

// longestIdle returns the connection that has been idle for longest, and at least for as long as a stranger may be one,
// and has retired; nil if there is none. mu is held.
func (d *Door) longestIdle() *conn {
	stays := map[*conn]bool{}
	for {
		var longest *conn
		since := time.Now().Add(-d.options.Patience).UnixNano()
		for c := range d.resting {
			if c.busy.Load() == 0 && c.idle.Load() <= since && !stays[c] && unsent(c.Conn) == 0 {
				longest, since = c, c.idle.Load()
			}
		}
		if longest == nil || d.resting[longest]() {
			return longest
		}
		stays[longest] = true
	}
}

// seeOff closes an idle connection that has lost its place.
func (c *conn) seeOff(farewell func()) {
	if farewell != nil {
		c.Conn.SetWriteDeadline(time.Now().Add(farewellTime))
		farewell()
	}
	c.Conn.Close()
}
