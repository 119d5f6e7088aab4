package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const dialTime = 10 * time.Second

// wire carries the requests to an object storage.
type wire struct {
	*http.Transport
	ahead atomic.Int64 // how far the other clock was, at the last answer, nanoseconds
}

// newWire returns a wire on which no request waits longer than stall for a byte to move. It speaks HTTP/1.1, of which
// each connection carries one request, so that what moves on it is of that one.
func newWire(caFile string, stall time.Duration) (*wire, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("certificates of the storage: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificates of the storage: %s: there is none in it", caFile)
		}
	}
	dialer := &net.Dialer{Timeout: min(dialTime, stall)}
	return &wire{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &moving{conn, stall}, nil
		},
		TLSClientConfig:    secure,
		TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{},
		IdleConnTimeout:    stall / 2, // an idle connection is not one that stalls
		DisableCompression: true,
	}}, nil
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := w.Transport.RoundTrip(r)
	if err == nil {
		if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
			w.ahead.Store(int64(time.Until(at)))
		}
	}
	return answer, err
}

// moving is a connection that breaks if nothing moves on it.
type moving struct {
	net.Conn
	stall time.Duration
}

func (m *moving) Read(p []byte) (int, error) {
	if err := m.SetReadDeadline(time.Now().Add(m.stall)); err != nil {
		return 0, err
	}
	return m.Conn.Read(p)
}

// Write also puts off the end of a Read that waits for the answer.
func (m *moving) Write(p []byte) (int, error) {
	if err := m.SetDeadline(time.Now().Add(m.stall)); err != nil {
		return 0, err
	}
	return m.Conn.Write(p)
}
