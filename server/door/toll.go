package door

import (
	"net"
	"time"
)

// What newcomers who come to nothing may cost a door: so many at once, and then so many a second are let in. Whoever
// has proved his worth costs nothing, so that a crowd of clients that comes back is let in as fast as it asks.
const (
	tollBurst = 1000
	tollRate  = 100
	// longestToll bounds how long the next newcomer waits, since he may be a client.
	longestToll = 50 * time.Millisecond
)

// toll is what newcomers owe to a door.
type toll struct {
	paid float64 // less than none: it is owed
	at   time.Time
}

// charge counts a newcomer, and returns how long the next one is to wait.
func (t *toll) charge(now time.Time) time.Duration {
	if t.at.IsZero() {
		t.paid = tollBurst
	} else {
		t.paid = min(tollBurst, t.paid+now.Sub(t.at).Seconds()*tollRate)
	}
	t.at = now
	t.paid = max(t.paid-1, -tollRate)
	if t.paid >= 0 {
		return 0
	}
	return min(time.Duration(-t.paid/tollRate*float64(time.Second)), longestToll)
}

// refund takes back what somebody was charged.
func (t *toll) refund() { t.paid = min(tollBurst, t.paid+1) }

// Prove says that the connection from there did what the listener is for: its client showed a certificate that is
// taken, asked something (by HTTP/1.1 whatever it will be answered, by HTTP/2 something that had more than a refusal),
// or it is a node's that was admitted. Connections of which that is never said are let in slowly where many of them
// come. One that came through no door is left alone.
func Prove(from net.Addr) {
	if a, ok := from.(addr); ok {
		a.prove()
	}
}

func (a addr) prove() {
	if a.conn.proved.Swap(true) {
		return
	}
	d := a.conn.door
	d.mu.Lock()
	defer d.mu.Unlock()
	d.toll.refund()
}
