package admin

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
	"time"
)

// socketZone ends what package http takes for the host of a socket of this machine: its path, in hexadecimal.
const socketZone = ".socket.invalid"

// socketOf returns the path of an endpoint that is a socket of this machine, unix:///path or with TLS unixs:///path.
func socketOf(endpoint string) (path string, secure, ok bool) {
	scheme, path, _ := strings.Cut(endpoint, "://")
	switch scheme {
	case "unix":
		return path, false, true
	case "unixs":
		return path, true, true
	}
	return "", false, false
}

// base returns what the URL of a call at an endpoint begins with.
func base(endpoint string) string {
	path, secure, ok := socketOf(endpoint)
	switch host := hex.EncodeToString([]byte(path)) + socketZone; {
	case !ok:
		return endpoint
	case secure:
		return "https://" + host
	default:
		return "http://" + host
	}
}

// dial is the dialer of package http.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: dialTimeout}
	host, _, _ := net.SplitHostPort(address)
	if name, ok := strings.CutSuffix(host, socketZone); ok {
		path, err := hex.DecodeString(name)
		if err != nil {
			return nil, err
		}
		return d.DialContext(ctx, "unix", string(path))
	}
	return d.DialContext(ctx, network, address)
}

// newTransport returns one that knows sockets of this machine. A server behind one with TLS is localhost.
func newTransport(secure *tls.Config) *http.Transport {
	handshake := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		one := cmp.Or(secure, &tls.Config{MinVersion: tls.VersionTLS12}).Clone()
		// HTTP/2 on the client port is gRPC alone.
		one.NextProtos = []string{"http/1.1"}
		host, _, _ := net.SplitHostPort(address)
		if strings.HasSuffix(host, socketZone) {
			host = "localhost"
		}
		one.ServerName = cmp.Or(one.ServerName, host)
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		wrapped := tls.Client(c, one)
		if err := wrapped.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		return wrapped, nil
	}
	return &http.Transport{IdleConnTimeout: time.Minute, DialContext: dial, DialTLSContext: handshake}
}
