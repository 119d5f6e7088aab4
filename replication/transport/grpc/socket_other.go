//go:build !linux

package grpctransport

import (
	"errors"
	"net"
	"time"
)

// Only linux lets a process choose these for one socket.
func setCongestion(*net.TCPConn, string) error { return nil }

func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }

func sendAgainWithin(*net.TCPConn, time.Duration, func(time.Duration) bool) error { return nil }

func isClosedSocket(err error) bool { return errors.Is(err, net.ErrClosed) }
