package grpctransport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
)

// sockets sets the options of TCP sockets: congestion control, and how soon a silent peer counts as dead. Both are
// matters of the sender, so they are set on dialled and accepted sockets alike. TCP_NODELAY is Go's default.
type sockets struct {
	congestion string
	deadAfter  time.Duration
	logger     *slog.Logger
	warn       sync.Once
}

func (o *sockets) dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	o.tune(c)
	return c, nil
}

// tune sets what can be set. A socket without the options still works, so nothing here is an error.
func (o *sockets) tune(c net.Conn) {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = wrapped.NetConn()
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	third := max(time.Second, o.deadAfter/3)
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: third, Interval: third, Count: 2})
	if err == nil {
		err = setUserTimeout(tcp, o.deadAfter)
	}
	if err == nil && o.congestion != SystemCongestionControl {
		if err = setCongestion(tcp, o.congestion); err != nil {
			err = fmt.Errorf("congestion control %q: %w (long links with loss will be slow)", o.congestion, err)
		}
	}
	if err != nil && !isClosedSocket(err) {
		o.warn.Do(func() { o.logger.Warn("a socket option is not available; going on without", "err", err) })
	}
}

// tunedListener tunes what it accepts.
type tunedListener struct {
	net.Listener
	sockets *sockets
}

func (l tunedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.sockets.tune(c)
	}
	return c, err
}

// vouch tells the listener that a connection is of this fleet, if it wants to know.
func vouch(ctx context.Context) {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if addr, ok := p.Addr.(interface{ Vouch() }); ok {
			addr.Vouch()
		}
	}
}

// describePeer names the other side of an accepted stream, for logs.
func describePeer(ctx context.Context, md metadata.MD) string {
	addr := "unknown address"
	if p, ok := grpcpeer.FromContext(ctx); ok {
		addr = p.Addr.String()
	}
	if name := first(md, nodeKey); name != "" {
		return name + "@" + addr
	}
	return addr
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
