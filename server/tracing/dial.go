package tracing

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// dialing returns what dials with TLS as it is at that moment.
func dialing(secure func() *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		config := secure().Clone()
		config.NextProtos = []string{"http/1.1"}
		d := tls.Dialer{Config: config}
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("connect to the collector: %w", err)
		}
		return c, nil
	}
}
