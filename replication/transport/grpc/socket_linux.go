package grpctransport

import (
	"errors"
	"math"
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

// sendAgainWithin bounds how long the system waits before it sends unacknowledged data once more, if the other side is
// near. Kernels before 6.15 have no such bound.
func sendAgainWithin(c *net.TCPConn, d time.Duration, near func(roundTrip time.Duration) bool) error {
	return control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return os.NewSyscallError("getsockopt TCP_INFO", err)
		}
		known := info.Min_rtt != math.MaxUint32
		if !known || !near(time.Duration(info.Min_rtt)*time.Microsecond) {
			return nil
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, int(d.Milliseconds()))
		if errors.Is(err, unix.ENOPROTOOPT) {
			return nil
		}
		return os.NewSyscallError("setsockopt TCP_RTO_MAX_MS", err)
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
