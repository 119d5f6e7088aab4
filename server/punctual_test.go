package server

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// punctual has connections in memory keep to their deadlines as those of the network do: where one was taken back, a
// timer of theirs that had gone off already may still have them tell of it.
type punctual struct{ net.Listener }

func (l punctual) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &punctualConn{Conn: c}, nil
}

type punctualConn struct {
	net.Conn
	mu    sync.Mutex
	until time.Time // by when reading is to end; zero: by no time
}

func (c *punctualConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.Conn.SetReadDeadline(t)
}

func (c *punctualConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || !late(err) || !c.takenBack() {
			return n, err
		}
	}
}

func late(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// takenBack reports whether there is no deadline, and has the connection forget the one that there was.
func (c *punctualConn) takenBack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until.IsZero() && c.Conn.SetReadDeadline(time.Time{}) == nil
}
