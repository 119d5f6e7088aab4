package grpctransport

import (
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The congestion control is a matter of the sender, and both sides send.
func TestSocketsOfBothSidesAreTuned(t *testing.T) {
	allowed, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil || !slices.Contains(strings.Fields(string(allowed)), "bbr") {
		t.Skip("this machine has no bbr")
	}
	o := &sockets{congestion: "bbr", deadAfter: 6 * time.Second, logger: slog.New(slog.DiscardHandler)}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tunedListener{inner, o}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	dialled, err := o.dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{dialled, <-accepted} {
		err := control(c.(*net.TCPConn), func(fd int) error {
			name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
			if err != nil || strings.TrimRight(name, "\x00") != "bbr" {
				t.Errorf("congestion control %q, %v", name, err)
			}
			for option, want := range map[int]int{
				unix.TCP_USER_TIMEOUT: 6000, unix.TCP_KEEPIDLE: 2, unix.TCP_NODELAY: 1,
			} {
				if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option); err != nil || got != want {
					t.Errorf("option %d is %d, want %d, %v", option, got, want, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		c.Close()
	}
}
