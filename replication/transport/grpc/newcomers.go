package grpctransport

import (
	"net"
	"sync"
	"time"
)

// Newcomers is a listener for a gRPC server that knows which of its connections have not shaken hands yet. A server
// that is ended waits for those before it does anything else, for as long as they get for it, which any stranger can
// make use of. It is safe for concurrent use.
type Newcomers struct {
	net.Listener

	mu    sync.Mutex
	fresh map[*newcomer]bool
	over  bool
}

// Greet makes one of the connections of l.
func Greet(l net.Listener) *Newcomers {
	return &Newcomers{Listener: l, fresh: map[*newcomer]bool{}}
}

// Accept implements net.Listener.
func (n *Newcomers) Accept() (net.Conn, error) {
	below, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &newcomer{below, n}
	if !n.enter(c) {
		_ = below.Close() // the server finds that out
	}
	return c, nil
}

// Dismiss closes those that have not shaken hands, and from now on all that come. It is called before the server is
// stopped, or while that waits.
func (n *Newcomers) Dismiss() {
	n.mu.Lock()
	n.over = true
	var fresh []*newcomer
	for c := range n.fresh {
		fresh = append(fresh, c)
	}
	n.mu.Unlock()
	for _, c := range fresh {
		_ = c.Close()
	}
}

func (n *Newcomers) enter(c *newcomer) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return false
	}
	n.fresh[c] = true
	return true
}

func (n *Newcomers) forget(c *newcomer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.fresh, c)
}

// newcomer is a connection of which the server takes the deadline away once hands are shaken.
type newcomer struct {
	net.Conn
	of *Newcomers
}

// SetDeadline implements net.Conn.
func (c *newcomer) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.of.forget(c)
	}
	return c.Conn.SetDeadline(t)
}

// Close implements net.Conn.
func (c *newcomer) Close() error {
	c.of.forget(c)
	return c.Conn.Close()
}

// NetConn returns the connection below.
func (c *newcomer) NetConn() net.Conn { return c.Conn }
