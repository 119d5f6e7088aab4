package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// secured tells the gRPC server what a connection has shown that the listener has made secure already, if it has.
type secured struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (secured) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, ok := c.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return c, nil, nil
	}
	return c, credentials.TLSInfo{
		State:          secure.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (secured) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server: not for clients")
}

// Info implements credentials.TransportCredentials.
func (secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (s secured) Clone() credentials.TransportCredentials { return s }

// OverrideServerName implements credentials.TransportCredentials.
func (secured) OverrideServerName(string) error { return nil }
