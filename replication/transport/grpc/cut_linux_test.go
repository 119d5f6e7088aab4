package grpctransport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cut has a socket drop all that comes, without a word to who sent it, and heal ends that.
func cut(t *testing.T, c syscall.Conn) (heal func()) {
	t.Helper()
	all := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	set := func(set func(fd int) error) {
		t.Helper()
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		if err := errors.Join(raw.Control(func(fd uintptr) { failed = set(int(fd)) }), failed); err != nil {
			t.Fatal(err)
		}
	}
	set(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(all)), Filter: &all[0]})
	})
	return func() {
		set(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
	}
}

// idle is for how long nothing has come, as the kernel knows: who reads may be woken late.
func idle(t *testing.T, c net.Conn) (since time.Duration) {
	t.Helper()
	if err := control(c.(*net.TCPConn), func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			since = time.Duration(info.Last_data_recv) * time.Millisecond
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return since
}

// TestAConnectionGoesOnSoonAfterACut: what was lost is sent again within about a second of its end, as long as the
// connection outlives it. By the system's own timers it would not before it is given up.
func TestAConnectionGoesOnSoonAfterACut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := &sockets{
		congestion: SystemCongestionControl, deadAfter: DefaultDeadAfter, logger: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	near, err := o.dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if err := control(near.(*net.TCPConn), func(fd int) error {
		_, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS)
		return err
	}); errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("this kernel has no bound on when data is sent again")
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	o.tune(far)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		heals := []func(){cut(t, near.(*net.TCPConn)), cut(t, far.(*net.TCPConn))}
		if _, err := way[0].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3800 * time.Millisecond)
		for _, heal := range heals {
			heal()
		}
		healed := time.Now()
		_, err = io.ReadFull(way[1], make([]byte, 1))
		if took := time.Since(healed) - idle(t, way[1]); err != nil || took > 2*time.Second {
			t.Errorf("came %v after the cut: %v", took, err)
		}
	}
}
