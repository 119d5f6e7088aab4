package main

import (
	"fmt"
	"net"
	"time"
)

// tellSystemd tells systemd that the node serves, for units of Type=notify: by a datagram to the socket of which it
// says the name (sd_notify(3)). A name that begins with @ is of no file. Nothing is told if there is none.
func tellSystemd(socket string) error { return tellSystemdWithin(socket, notifyTime) }

// notifyTime bounds how long a node waits that systemd takes what it is told: a datagram waits where its queue is full,
// as while it stands still, and so would the node, which hears of no signal meanwhile.
const notifyTime = 5 * time.Second

func tellSystemdWithin(socket string, within time.Duration) error {
	if socket == "" {
		return nil
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err == nil {
		connection.SetWriteDeadline(time.Now().Add(within)) //nolint:errcheck // one of the system's knows deadlines
		_, err = connection.Write([]byte("READY=1"))
		connection.Close()
	}
	if err != nil {
		return fmt.Errorf("tell systemd at NOTIFY_SOCKET %s: %w", socket, err)
	}
	return nil
}
