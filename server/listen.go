package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/mimir-kv/mimir/server/door"
)

// listeners are the bound ports of one node. They are bound before anything is opened, so that a port in use costs
// nothing.
type listeners struct {
	client, peer, http net.Listener // http is nil if not configured
	tls                *secured
	doors              []*door.Door // before client, peer and http
}

func listen(c *Config, shares door.Shares, o *Options, logger *slog.Logger) (*listeners, error) {
	l := &listeners{}
	var err error
	if l.tls, err = secure(c, o.recheck, logger); err != nil {
		return nil, err
	}
	for _, port := range []struct {
		key, addr string
		to        *net.Listener
		most      int
	}{
		{"listen-client", c.ListenClient, &l.client, shares.Clients},
		{"listen-peer", c.ListenPeer, &l.peer, shares.Peers},
		{"listen-http", c.ListenHTTP, &l.http, shares.HTTP},
	} {
		if port.addr == "" {
			continue
		}
		bound, err := net.Listen("tcp", port.addr)
		if err != nil {
			l.close()
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, fmt.Errorf("%s %s: the port is in use by another process", port.key, port.addr)
			}
			return nil, fmt.Errorf("%s %s: %w", port.key, port.addr, err)
		}
		guarded := door.New(bound, door.Options{
			Name: port.key, Most: port.most, Strangers: door.StrangersOf(port.most), Logger: logger,
		})
		*port.to, l.doors = guarded, append(l.doors, guarded)
	}
	if l.tls.client != nil {
		l.client = tls.NewListener(l.client, l.tls.client)
	}
	if l.tls.http != nil && l.http != nil {
		l.http = tls.NewListener(l.http, l.tls.http)
	}
	return l, nil
}

func (l *listeners) close() {
	for _, one := range []net.Listener{l.client, l.peer, l.http} {
		if one != nil {
			one.Close()
		}
	}
}
