package grpctransport

import (
	"net"

	"google.golang.org/grpc/credentials"
)

// told are credentials whose failures at accepted connections somebody is told of.
type told struct {
	credentials.TransportCredentials
	refused func(from net.Addr, err error) // nil: nobody
}

// ServerHandshake implements credentials.TransportCredentials.
func (t told) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil && t.refused != nil {
		t.refused(raw.RemoteAddr(), err)
	}
	return c, info, err
}

// Clone implements credentials.TransportCredentials.
func (t told) Clone() credentials.TransportCredentials {
	return told{t.TransportCredentials.Clone(), t.refused}
}
