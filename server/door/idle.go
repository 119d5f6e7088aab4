package door

import (
	"net"
	"time"
)

// Requests has a connection counted as idle from now on, but while a request is under way on it ([Request]). Where
// there is no room for a newcomer, the one that has been idle for longest leaves: its owner makes another when he has
// something to say. A connection that came through no door is left alone.
func Requests(c net.Conn) {
	if a, ok := c.RemoteAddr().(interface{ requests() }); ok {
		a.requests()
	}
}

// Request says that a request begins on the connection from there, until end is called.
func Request(from net.Addr) (end func()) {
	if a, ok := from.(addr); ok {
		return a.request()
	}
	return func() {}
}

func (a addr) requests() {
	d := a.conn.door
	a.conn.idle.Store(time.Now().UnixNano())
	d.mu.Lock()
	defer d.mu.Unlock()
	if !a.conn.gone {
		d.resting[a.conn] = true
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

// longestIdle returns the connection that has been idle for longest, and at least for as long as a stranger may be one;
// nil if there is none. mu is held.
func (d *Door) longestIdle() (longest *conn) {
	since := time.Now().Add(-d.options.Patience).UnixNano()
	for c := range d.resting {
		if c.busy.Load() == 0 && c.idle.Load() <= since {
			longest, since = c, c.idle.Load()
		}
	}
	return longest
}
