package address

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Listen binds all addresses of a list to one listener; beside are all that this process listens at. Who looks for a
// connection that is to be secured puts [Secured] before whatever stands before the listener; block is as for
// [Address.Secure].
func Listen(list, beside []Address, block bool) (net.Listener, error) {
	var bound []net.Listener
	for _, a := range list {
		l, err := a.listen(beside)
		if err != nil {
			for _, one := range bound {
				one.Close()
			}
			return nil, err
		}
		if block && !a.Secure(block) {
			l = plaintext{l}
		}
		bound = append(bound, l)
	}
	if len(bound) == 1 {
		return bound[0], nil
	}
	return join(bound), nil
}

// ListenTCP is net.Listen for a port of TCP, but that nothing is set on what it accepts: whether the other side is
// there still is asked of those who were let in, by whoever lets them. It does accept those who have said nothing yet:
// were they to wait in the system's queue, as that can be told to have them, they had it full for others, and nobody
// could make them leave.
func ListenTCP(network, place string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), network, place)
}

func (a Address) listen(beside []Address) (net.Listener, error) {
	var l net.Listener
	var err error
	if a.Socket() {
		l, err = listenSocket(a.Place)
	} else {
		l, err = ListenTCP(a.network(beside), a.Place)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %w", a, errInUse{err})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a, err)
	}
	return l, nil
}

// errInUse says it in plain words.
type errInUse struct{ error }

func (errInUse) Error() string   { return "the port is in use by another process" }
func (e errInUse) Unwrap() error { return e.error }

// network leaves the other family to an address that names it.
func (a Address) network(beside []Address) string {
	if a.Wild() && a.family() != 0 {
		for _, b := range beside {
			if b.family() != 0 && b.family() != a.family() && b.port() == a.port() {
				return fmt.Sprint("tcp", a.family())
			}
		}
	}
	return "tcp"
}

// answerTime is how long somebody who listens at a socket may take to take a connection.
const answerTime = time.Second

// listenSocket binds a socket, in place of one that nobody listens at any more. Who may connect is who owns it.
func listenSocket(path string) (net.Listener, error) {
	stale, err := staleSocket(path)
	if err == nil && stale {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

// staleSocket reports whether there is a socket at which nobody listens. It fails if something else is in its place.
func staleSocket(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return false, nil // binding says more
	}
	if info.Mode().Type() != fs.ModeSocket {
		return false, errors.New("there is a file in the place of the socket")
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
	}
	return true, occupied(err)
}

// occupied says by how a call to a socket ended why it cannot be bound anew; nil if nobody listens at it.
func occupied(err error) error {
	var late net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil, errors.As(err, &late) && late.Timeout(): // its queue is full
		return errors.New("the socket is in use by another process")
	}
	return fmt.Errorf("there is a socket, and whether another process uses it cannot be found out: %w", err)
}

// Check returns why [Listen] could not bind the address now. It leaves everything as it is: also a socket at which
// nobody listens any more, which Listen takes away.
func (a Address) Check(beside []Address) error {
	if a.Socket() {
		stale, err := staleSocket(a.Place)
		if err == nil && stale {
			err = replaceable(a.Place)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		if stale {
			return nil
		}
	}
	l, err := a.listen(beside)
	if err != nil {
		return err
	}
	return l.Close()
}

// replaceable returns why nothing can be made beside path, and so not in its place.
func replaceable(path string) error {
	probe, err := os.CreateTemp(filepath.Dir(path), ".mimir-check-")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// plaintext marks its connections.
type plaintext struct{ net.Listener }

type plainConn struct{ net.Conn }

// NetConn returns the connection below.
func (c plainConn) NetConn() net.Conn { return c.Conn }

// Accept implements net.Listener.
func (l plaintext) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return plainConn{c}, nil
}

// Secured secures the connections of l, which come from [Listen], but for those of addresses in plaintext.
func Secured(l net.Listener, c *tls.Config) net.Listener { return secured{l, c} }

type secured struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener.
func (l secured) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	for below := c; ; {
		if _, plain := below.(plainConn); plain {
			return c, nil
		}
		covers, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			return tls.Server(c, l.config), nil
		}
		below = covers.NetConn()
	}
}

// joined is one listener of several.
type joined struct {
	list     []net.Listener
	accepted chan accepted
	closing  sync.Once
	done     chan struct{}
}

type accepted struct {
	net.Conn
	err error
}

func join(list []net.Listener) net.Listener {
	j := &joined{list: list, accepted: make(chan accepted), done: make(chan struct{})}
	for _, l := range list {
		go j.accept(l)
	}
	return j
}

// accept hands on what comes to l until that is closed. After an error it goes on when somebody asks again.
func (j *joined) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case j.accepted <- accepted{c, err}:
		case <-j.done:
			if err == nil {
				c.Close()
			}
			return
		}
	}
}

// Accept implements net.Listener.
func (j *joined) Accept() (net.Conn, error) {
	select {
	case a := <-j.accepted:
		return a.Conn, a.err
	case <-j.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (j *joined) Close() error {
	var err error
	j.closing.Do(func() {
		close(j.done)
		for _, l := range j.list {
			err = errors.Join(err, l.Close())
		}
	})
	return err
}

// Addr returns the first address.
func (j *joined) Addr() net.Addr { return j.list[0].Addr() }
