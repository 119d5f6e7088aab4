package grpctransport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/mimir-kv/mimir/replication/transport"
)

// watched is a listener that shows what it accepts.
type watched struct {
	net.Listener
	seen chan net.Conn
}

func (w watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.seen <- c
	}
	return c, err
}

// The congestion control is a matter of the sender, and both sides send. Of those who come only nodes have their
// sockets tuned, and only they cost what that does, and a large buffer.
func TestSocketsOfBothSidesAreTuned(t *testing.T) {
	allowed, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	bbr := err == nil && slices.Contains(strings.Fields(string(allowed)), "bbr")
	inner, err := (&net.ListenConfig{KeepAlive: -1}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := watched{inner, make(chan net.Conn, 2)}
	server, _ := meteredNode(t, "us-1", func(o *Options) { o.Listener = l })
	dialled := make(chan net.Conn, 1)
	sockets := &sockets{congestion: "bbr", deadAfter: 6 * time.Second, logger: slog.New(slog.DiscardHandler)}
	client, _ := meteredNode(t, "us-2", func(o *Options) {
		o.Dialer = func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := sockets.dial(ctx, addr)
			dialled <- c
			return c, err
		}
	})
	if err := server.Serve(meteredServices); err != nil {
		t.Fatal(err)
	}
	stranger, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	strange := <-l.seen
	s, err := client.Open(t.Context(), inner.Addr().String(), "take")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	option := func(c net.Conn, level, name int) (value int) {
		t.Helper()
		if err := control(c.(*net.TCPConn), func(fd int) (err error) {
			value, err = unix.GetsockoptInt(fd, level, name)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, c := range []net.Conn{<-dialled, <-l.seen} {
		for name, want := range map[int]int{unix.TCP_USER_TIMEOUT: 6000, unix.TCP_KEEPIDLE: 2, unix.TCP_NODELAY: 1} {
			if got := option(c, unix.IPPROTO_TCP, name); got != want {
				t.Errorf("option %d is %d, want %d", name, got, want)
			}
		}
		if name := congestionOf(t, c); bbr && name != "bbr" {
			t.Errorf("congestion control %q", name)
		}
	}
	alive := option(strange, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	if after := option(strange, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); alive != 0 || after != 0 {
		t.Errorf("a stranger is tuned: keep-alive %d, user timeout %d", alive, after)
	}
}

func congestionOf(t *testing.T, c net.Conn) (name string) {
	t.Helper()
	if err := control(c.(*net.TCPConn), func(fd int) (err error) {
		name, err = unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(name, "\x00")
}

// A congestion control that is missing is not asked for with each connection, but now and then: somebody may load it.
func TestAMissingCongestionControlIsRemembered(t *testing.T) {
	tries, answer := 0, error(unix.ENOENT)
	o := &sockets{congestion: "bbr"}
	now := time.Now()
	try := func(want error, after time.Duration) {
		t.Helper()
		now = now.Add(after)
		err := o.congest(now, func(string) error {
			tries++
			return answer
		})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	answer = unix.EINVAL // it is gone, which says nothing of others
	try(unix.EINVAL, 0)
	answer = unix.ENOENT
	try(unix.ENOENT, 0)
	for range 100 {
		try(nil, tryAgain/200)
	}
	if tries != 2 {
		t.Errorf("%d tries", tries)
	}
	try(unix.ENOENT, tryAgain)
	answer = nil
	try(nil, tryAgain)
	try(nil, 0)
	if tries != 5 {
		t.Errorf("%d tries, want one after a minute and, as it is there, each", tries)
	}
}

// Who shows nothing has a small buffer, and a node as large a one as it needs.
func TestStrangersHaveSmallBuffers(t *testing.T) {
	m := newMeter(&endless{one: []byte{0, 0, 0, frameData, 0, 0, 0, 0, 1}, unread: make([]byte, prefaceBytes)}, nil,
		&ledgers{most: 1 << 20, of: map[member]*ledger{}})
	g := &gathered{meter: m}
	if _, err := g.Read(make([]byte, 1)); err != nil || len(g.buffer) > strangerBytes {
		t.Errorf("a buffer of %d bytes, %v", len(g.buffer), err)
	}
	end, err := m.begin(member{"fleet", transport.Caller{Node: "us-1", Region: "us"}})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for range strangerBytes {
		if _, err := g.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.buffer) != bufferBytes {
		t.Errorf("a buffer of %d bytes of a node", len(g.buffer))
	}
}
