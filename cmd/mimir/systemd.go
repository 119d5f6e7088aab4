package main

import (
	"fmt"
	"net"
)

// tellSystemd tells systemd that the node serves, for units of Type=notify: by a datagram to the socket of which it
// says the name (sd_notify(3)). A name that begins with @ is of no file. Nothing is told if there is none.
func tellSystemd(socket string) error {
	if socket == "" {
		return nil
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err == nil {
		_, err = connection.Write([]byte("READY=1"))
		connection.Close()
	}
	if err != nil {
		return fmt.Errorf("tell systemd at NOTIFY_SOCKET %s: %w", socket, err)
	}
	return nil
}
