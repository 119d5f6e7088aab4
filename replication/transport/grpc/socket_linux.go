package grpctransport

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func setCongestion(c *net.TCPConn, name string) error {
	return control(c, func(fd int) error {
		return os.NewSyscallError("setsockopt TCP_CONGESTION",
			unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
	})
}

// setUserTimeout bounds how long sent data may stay unacknowledged.
func setUserTimeout(c *net.TCPConn, d time.Duration) error {
	return control(c, func(fd int) error {
		return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())))
	})
}

func control(c *net.TCPConn, set func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var setErr error
	if err := raw.Control(func(fd uintptr) { setErr = set(int(fd)) }); err != nil {
		return err
	}
	return setErr
}

// isClosedSocket reports whether the peer was gone before the options could be set.
func isClosedSocket(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTCONN)
}
