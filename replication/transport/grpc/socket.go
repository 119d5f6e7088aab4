package grpctransport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
)

// sockets sets the options of TCP sockets: congestion control, and how soon a silent peer counts as dead. Both are
// matters of the sender, so they are set on dialled and accepted sockets alike, on these once somebody is admitted by
// them. TCP_NODELAY is Go's default.
type sockets struct {
	congestion string
	deadAfter  time.Duration
	logger     *slog.Logger
	warn       sync.Once
	missing    atomic.Int64 // since when the congestion control is not tried, in Unix nanoseconds; 0: it is
}

// tryAgain is after what time a congestion control that was missing is tried again: it may have been loaded.
const tryAgain = time.Minute

const (
	// sendAgain is after how long at most data that was lost is sent once more to who is near. The system waits twice
	// as long each time: a cut of four seconds lasted eight, and ended the connection.
	sendAgain = time.Second
	// nearby is the round trip up to which a peer is near. Further away a link may hold packets for longer than
	// sendAgain when it is busy, and what is sent again then makes it busier.
	nearby = 20 * time.Millisecond
)

func isNear(roundTrip time.Duration) bool { return roundTrip <= nearby }

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
	for {
		covers, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = covers.NetConn()
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
	if err == nil {
		err = sendAgainWithin(tcp, sendAgain, isNear)
	}
	if err == nil {
		err = o.congest(time.Now(), func(name string) error { return setCongestion(tcp, name) })
	}
	if err != nil && !isClosedSocket(err) {
		o.warn.Do(func() { o.logger.Warn("a socket option is not available; going on without", "err", err) })
	}
}

// congest has set choose the congestion control, unless that was missing a moment ago.
func (o *sockets) congest(now time.Time, set func(name string) error) error {
	if o.congestion == SystemCongestionControl {
		return nil
	}
	if at := o.missing.Load(); at != 0 && now.UnixNano()-at < int64(tryAgain) {
		return nil
	}
	err := set(o.congestion)
	switch {
	case err == nil:
		o.missing.Store(0)
	case !isClosedSocket(err):
		o.missing.Store(now.UnixNano())
		err = fmt.Errorf("congestion control %q: %w (long links with loss will be slow)", o.congestion, err)
	}
	return err
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
