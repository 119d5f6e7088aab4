package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"github.com/mimir-kv/mimir/server/address"
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
		key, list string
		to        *net.Listener
		most      int
		secure    bool // addresses without a scheme
	}{
		{"listen-client", c.ListenClient, &l.client, shares.Clients, l.tls.client != nil},
		{"listen-peer", c.ListenPeer, &l.peer, shares.Peers, false}, // the transport's business
		{"listen-http", c.ListenHTTP, &l.http, shares.HTTP, l.tls.http != nil},
	} {
		if port.list == "" {
			continue
		}
		bound, err := address.Listen(addresses(port.list), c.listens(), port.secure)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("%s %w", port.key, err)
		}
		guarded := door.New(bound, door.Options{
			Name: port.key, Most: port.most, Strangers: door.StrangersOf(port.most), Logger: logger,
			VouchProves: port.key == "listen-peer", // the transport vouches for members
			Crowds:      c.crowds(),
		})
		*port.to, l.doors = guarded, append(l.doors, guarded)
	}
	if l.tls.client != nil {
		l.client = address.Secured(l.client, l.tls.client)
	}
	if l.tls.http != nil && l.http != nil {
		l.http = address.Secured(l.http, l.tls.http)
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

// addresses returns those of a list that was validated.
func addresses(list string) []address.Address {
	found, _ := address.ParseList(list)
	return found
}

// crowds returns the networks of a setting that was validated.
func (c *Config) crowds() []netip.Prefix {
	found, _ := door.ParseCrowds(c.Crowds)
	return found
}

// listens returns everything that this process listens at.
func (c *Config) listens() []address.Address {
	return slices.Concat(addresses(c.ListenClient), addresses(c.ListenPeer), addresses(c.ListenHTTP))
}
