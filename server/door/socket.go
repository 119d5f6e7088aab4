package door

import (
	"net"
	"time"
)

// How often it is asked whether the other side of a connection that was let in is there still, and how often in vain
// before it ends.
const (
	aliveEvery = 15 * time.Second
	aliveTries = 9
)

// socketOf returns what is below a connection: a *net.TCPConn, if it is one of TCP.
func socketOf(c net.Conn) net.Conn {
	for {
		covers, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = covers.NetConn()
	}
}

// keepAlive has it asked whether the other side of a connection is there. Its listener sets nothing, for all those who
// never come so far. A connection on which that cannot be set serves as well.
func keepAlive(c net.Conn) {
	if tcp, ok := socketOf(c).(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: aliveEvery, Interval: aliveEvery, Count: aliveTries,
		})
	}
}

// drop closes a connection without a word: the system forgets it at once, and does not keep what is left of it for a
// minute. What was written and has not arrived is lost.
func drop(c net.Conn) {
	if tcp, ok := socketOf(c).(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it ends as others do
	}
	c.Close()
}
