package door

import (
	"container/heap"
	"net"
	"time"
)

const (
	// farewellTime bounds how long the farewell of an idle connection may take, and how long it is heard out after it.
	farewellTime = time.Second
	// mostFarewells bounds those that are heard out at a time: they have lost their places already.
	mostFarewells = 32
	// lookAgain is after what time one is looked at again that may not leave now.
	lookAgain = time.Second
)

// Requests has a connection counted as idle from now on, but while a request is under way on it ([Request]) or some of
// what was written has not arrived. Where there is no room for a newcomer, the one that has been idle for longest
// leaves, with its farewell if it knows one ([Farewell]): its owner makes another when he has something to say. retire
// is asked before: it returns false if a request has begun meanwhile, and begins none if it returned true; it must not
// block. What still comes of its other side after the farewell is then to be read and dropped until an error, so that
// no word of his that crosses the farewell keeps him from hearing it. A connection that came through no door is left
// alone.
func Requests(c net.Conn, retire func() bool) {
	if a, ok := c.RemoteAddr().(addr); ok {
		a.conn.rest(retire)
	}
}

// Request says that a request begins on the connection from there, until end is called.
func Request(from net.Addr) (end func()) {
	if a, ok := from.(addr); ok {
		return a.conn.request()
	}
	return func() {}
}

// Rests has a connection counted as idle from now on, as [Requests] does, until [Asks]: of one that speaks in turns, on
// which whatever is heard belongs to a request. It leaves without a farewell.
func Rests(c net.Conn) {
	if a, ok := c.RemoteAddr().(addr); ok {
		c := a.conn
		c.inTurns.Store(true)
		c.idle.Store(time.Now().UnixNano())
		c.busy.Store(0)
		c.rest(c.retireInTurns)
	}
}

// Asks says that a request is under way on a connection that speaks in turns, until [Rests].
func Asks(c net.Conn) {
	if a, ok := c.RemoteAddr().(addr); ok {
		a.conn.busy.Store(1)
	}
}

// rest puts a connection among those that may be idle.
func (c *conn) rest(retire func() bool) {
	d, now := c.door, time.Now()
	if !c.inTurns.Load() {
		c.idle.Store(now.UnixNano())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.gone || c.retire != nil {
		return
	}
	c.retire, c.due = retire, now.Add(d.options.Patience).UnixNano()
	heap.Push(&d.resting, c)
}

func (c *conn) request() (end func()) {
	c.busy.Add(1)
	return func() {
		c.idle.Store(time.Now().UnixNano())
		c.busy.Add(-1)
	}
}

// passes reports whether what was read of a connection that speaks in turns is passed on: then a request begins.
func (c *conn) passes() bool {
	c.turn.Lock()
	defer c.turn.Unlock()
	if !c.retired {
		c.idle.Store(time.Now().UnixNano())
	}
	return !c.retired
}

// retireInTurns returns false if a request has begun. Else nothing more is passed on.
func (c *conn) retireInTurns() bool {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.retired = c.busy.Load() == 0 && c.idle.Load()+int64(c.door.options.Patience) <= time.Now().UnixNano()
	return c.retired
}

// resting are connections that may be idle, as a heap by when each of them may leave, as far as that was looked at: who
// asks something is not moved, but when he comes to the front. So a newcomer does not cost a look at all of them.
type resting []*conn

func (r resting) Len() int           { return len(r) }
func (r resting) Less(i, j int) bool { return r[i].due < r[j].due }

func (r resting) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].at, r[j].at = i, j
}

// Push implements heap.Interface.
func (r *resting) Push(c any) {
	one := c.(*conn)
	one.at = len(*r)
	*r = append(*r, one)
}

// Pop implements heap.Interface.
func (r *resting) Pop() any {
	last := len(*r) - 1
	one := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	return one
}

// longestIdle returns the connection that has been idle for longest, and at least for as long as a stranger may be one,
// and has retired; nil if there is none. mu is held.
func (d *Door) longestIdle() *conn {
	now, patience := time.Now().UnixNano(), int64(d.options.Patience)
	for len(d.resting) > 0 && d.resting[0].due <= now {
		c := d.resting[0]
		switch idle := c.idle.Load() + patience; {
		case c.busy.Load() > 0:
			c.due = now + patience
		case idle > c.due:
			c.due = idle
		case unsent(c.Conn) > 0, !c.retire():
			c.due = now + min(patience, int64(lookAgain))
		default:
			return c
		}
		heap.Fix(&d.resting, 0)
	}
	return nil
}

// seeOff closes an idle connection that has lost its place, after its farewell. heardOut says that what crosses that is
// still read.
func (c *conn) seeOff(farewell func(), heardOut bool) {
	if farewell == nil {
		c.Conn.Close()
		return
	}
	c.Conn.SetDeadline(time.Now().Add(farewellTime))
	farewell()
	if !heardOut {
		c.Conn.Close()
		return
	}
	end := time.AfterFunc(farewellTime, func() { c.Close() })
	c.OnClose(func() {
		end.Stop()
		c.door.mu.Lock()
		defer c.door.mu.Unlock()
		c.door.farewells--
	})
}
