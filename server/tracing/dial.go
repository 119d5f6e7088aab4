package tracing

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// dialing returns what dials with TLS as it is at that moment. It gives up by itself, also within the handshake: what
// asks for a connection and does not wait for it any longer leaves it under way.
func dialing(
	secure func() *tls.Config, within time.Duration,
) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		config := secure().Clone()
		config.NextProtos = []string{"http/1.1"}
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: within}, Config: config}
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("connect to the collector: %w", err)
		}
		return c, nil
	}
}

// secureOnly asks by TLS, whatever a variable of the environment, or a collector that names another place, says.
type secureOnly struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (s secureOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		r = r.Clone(r.Context())
		r.URL.Scheme = "https"
	}
	return s.Transport.RoundTrip(r)
}
