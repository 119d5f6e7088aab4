package server

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/server/door"
)

// sniffTimeout bounds how long a new connection may take to show what it speaks.
const sniffTimeout = door.DefaultPatience

// preface opens every HTTP/2 connection (RFC 9113, section 3.4).
var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// sniffer divides the connections of one listener: HTTP/2 goes to the gRPC side, everything else to the HTTP/1.1 side.
// Under TLS the negotiated protocol decides. The listener's configuration must prefer "http/1.1" over "h2": clients
// that offer both, such as browsers and curl, then reach the HTTP side, and gRPC clients, which offer h2 alone, the
// other.
type sniffer struct {
	inner      net.Listener
	grpc, http *side
	clients    clients
	closing    sync.Once
	done       chan struct{}
}

// side is the listener of one protocol.
type side struct {
	*sniffer
	connections chan net.Conn
}

func sniff(l net.Listener) *sniffer {
	s := &sniffer{inner: l, done: make(chan struct{})}
	s.clients.bound(mostKept, mostKeptFresh)
	s.grpc = &side{s, make(chan net.Conn)}
	s.http = &side{s, make(chan net.Conn)}
	go s.run()
	return s
}

func (s *sniffer) run() {
	for {
		c, err := s.inner.Accept()
		if err != nil { // closed: a door goes on after any other error
			s.close()
			return
		}
		go s.divide(c)
	}
}

func (s *sniffer) close() error {
	err := error(nil)
	s.closing.Do(func() {
		close(s.done)
		err = s.inner.Close()
	})
	return err
}

func (s *sniffer) divide(c net.Conn) {
	c.SetDeadline(time.Now().Add(sniffTimeout))
	to, known, err := s.recognize(c)
	if err != nil {
		door.Failed(c.RemoteAddr(), err)
		c.Close()
		return
	}
	c.SetDeadline(time.Time{})
	door.Vouch(c)
	if client, ok := known.(interface{ retire() bool }); ok {
		door.Requests(c, client.retire)
	}
	select {
	case to.connections <- known:
	case <-s.done:
		known.Close()
	}
}

func (s *sniffer) recognize(c net.Conn) (*side, net.Conn, error) {
	if secure, ok := c.(*tls.Conn); ok {
		if err := secure.Handshake(); err != nil {
			return nil, c, err
		}
		state := secure.ConnectionState()
		judge(c.RemoteAddr(), &state)
		if state.NegotiatedProtocol == "h2" {
			client := newLeavable(c, &s.clients)
			door.Farewell(c, client.farewell)
			return s.grpc, leavableTLS{client, secure}, nil
		}
		door.Farewell(c, func() {}) // nothing can be said: a request under way gets the time
		return s.http, c, nil
	}
	seen := make([]byte, len(preface))
	n := 0
	for n < len(preface) {
		read, err := c.Read(seen[n:])
		n += read
		if !bytes.Equal(seen[:n], preface[:n]) {
			return s.http, &replayed{c, seen[:n]}, nil
		}
		if err != nil {
			return nil, c, err
		}
	}
	client := newLeavable(&replayed{c, seen}, &s.clients)
	door.Farewell(c, client.farewell)
	return s.grpc, client, nil
}

// judge tells the door of a connection what its client has shown with TLS.
func judge(from net.Addr, state *tls.ConnectionState) {
	if len(state.VerifiedChains) > 0 {
		door.Prove(from)
	} else {
		door.Nameless(from)
	}
}

// Accept returns the next connection of this side's protocol.
func (l *side) Accept() (net.Conn, error) {
	select {
	case c := <-l.connections:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close stops both sides: they share one port.
func (l *side) Close() error   { return l.close() }
func (l *side) Addr() net.Addr { return l.inner.Addr() }

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	first []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}
