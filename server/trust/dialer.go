package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Dialer secures connections that are made. It trusts the authorities of all its blocks, and shows the first of their
// certificates that the other side takes. It is a credentials.TransportCredentials of gRPC for clients, and safe for
// concurrent use.
type Dialer struct {
	*port
	base *tls.Config
}

// OnChange has f called whenever something else is shown or trusted: connections made before stand until they are
// closed, those that are not trusted any longer for Options.Grace. f must not block. To be called before Run.
func (d *Dialer) OnChange(f func()) { d.changed = f }

// Dialer returns nil if no block names files.
func (k *Keeper) Dialer(blocks ...Block) (*Dialer, error) {
	enabled := false
	for _, b := range blocks {
		enabled = enabled || b.enabled()
	}
	if !enabled {
		return nil, nil
	}
	p, err := k.port(blocks)
	if err != nil {
		return nil, err
	}
	p.usage = x509.ExtKeyUsageServerAuth
	d := &Dialer{p, k.base([]string{"h2"})}
	d.base.GetClientCertificate = p.shows
	return d, nil
}

// Config returns what to dial with now: the authorities are those of this moment.
func (d *Dialer) Config() *tls.Config {
	c := d.base.Clone()
	c.RootCAs = d.trusted()
	return c
}

// ClientHandshake implements credentials.TransportCredentials.
func (d *Dialer) ClientHandshake(
	ctx context.Context, authority string, raw net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	config := d.Config()
	c, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	secure, ok := info.(credentials.TLSInfo)
	if !ok || len(secure.State.PeerCertificates) == 0 {
		c.Close()
		return nil, nil, errors.New("the other side showed no certificate")
	}
	if err := d.unrevoked(secure.State.VerifiedChains); err != nil {
		c.Close()
		return nil, nil, err
	}
	g := &dialled{Conn: c}
	if err := d.admit(g, secure.State.PeerCertificates, config.RootCAs); err != nil {
		c.Close()
		return nil, nil, err
	}
	return g, info, nil
}

// ServerHandshake implements credentials.TransportCredentials: a Dialer is none for servers.
func (d *Dialer) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("trust: a Dialer accepts no connections")
}

// Info implements credentials.TransportCredentials.
func (d *Dialer) Info() credentials.ProtocolInfo { return credentials.NewTLS(d.base).Info() }

// Clone implements credentials.TransportCredentials. Connections of all clones stand under the same authorities.
func (d *Dialer) Clone() credentials.TransportCredentials { return &Dialer{d.port, d.base.Clone()} }

// OverrideServerName implements credentials.TransportCredentials.
func (d *Dialer) OverrideServerName(name string) error {
	d.base.ServerName = name
	return nil
}

// dialled is a connection that was made here.
type dialled struct {
	net.Conn
	mu     sync.Mutex
	closed bool
	after  []func()
}

// Close implements net.Conn.
func (c *dialled) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	after := c.after
	c.closed, c.after = true, nil
	c.mu.Unlock()
	for _, f := range after {
		f()
	}
	return err
}

// OnClose implements Guest.
func (c *dialled) OnClose(f func()) {
	c.mu.Lock()
	if !c.closed {
		c.after = append(c.after, f)
		f = nil
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// Dismiss implements Guest. Who dialled knows that something has changed.
func (c *dialled) Dismiss(within time.Duration) {
	end := time.AfterFunc(within, func() { c.Close() })
	c.OnClose(func() { end.Stop() })
}
