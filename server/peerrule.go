package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/server/address"
)

// Values of peer-tls.bind.
const (
	bindNone = "none"
	bindNode = "node"
)

// PeerRule says which certificates are those of nodes, beside that an authority signed them. What is empty asks for
// nothing; of what is set, each must hold.
type PeerRule struct {
	AllowedCN        []string // the common name is one of these
	AllowedHostnames []string // it is valid for one of these
	// Bind is node if it must name the very node that speaks ([nodeNames]), none or empty if not.
	Bind string

	regions []string // of the fleet, as far as they are known; see isOf
}

// peerRule returns the rule of a node, which knows regions.
func (c *Config) peerRule() *PeerRule {
	rule := c.PeerRule
	rule.regions = slices.AppendSeq([]string{c.Replication.RegionID}, maps.Keys(c.Replication.Regions))
	return &rule
}

func (r *PeerRule) set() bool {
	return len(r.AllowedCN) > 0 || len(r.AllowedHostnames) > 0 || r.Bind == bindNode
}

func (r *PeerRule) validate(t TLS) error {
	switch {
	case r.Bind != "" && r.Bind != bindNone && r.Bind != bindNode:
		return fmt.Errorf("bind %q: use %s or %s", r.Bind, bindNone, bindNode)
	case r.set() && !t.RequireClientCert:
		return errors.New("allowed-cn, allowed-hostname and bind need ca and require-client-cert")
	}
	return nil
}

// nodeNames returns the names of which a certificate must have one, as a DNS name or as its common name, and what it
// may have as a URI instead; where it has such a URI, that alone counts.
func nodeNames(fleet, region, node string) (name, uri string) {
	return node + "." + region + "." + fleet, "mimir://" + fleet + "/" + region + "/" + node
}

// admit returns why a peer of this fleet is not taken for a node.
func (r *PeerRule) admit(fleet string, p grpctransport.Peer) error {
	c := p.Certificate
	switch {
	case !r.set():
		return nil
	case c == nil:
		return errors.New("it shows no certificate")
	}
	if err := isAllowed("peer-tls", r.AllowedCN, r.AllowedHostnames, c); err != nil {
		return err
	}
	if r.Bind == bindNode && !names(c, fleet, p.Region, p.Node, r.regions) {
		name, uri := nodeNames(fleet, p.Region, p.Node)
		if named := nodeURIs(c); len(named) > 0 {
			return fmt.Errorf("its certificate, of %q, names %q, and not %s (peer-tls.bind): where it has such a URI, "+
				"that alone counts", c.Subject.CommonName, strings.Join(named, " "), uri)
		}
		return fmt.Errorf("its certificate, of %q, names neither %s nor %s (peer-tls.bind)", c.Subject.CommonName,
			name, uri)
	}
	return nil
}

// names reports whether a certificate is of this node of a fleet with these regions. One that names nodes by URIs, in
// which no dot is taken for another, is of no other.
func names(c *x509.Certificate, fleet, region, node string, regions []string) bool {
	if region == "" || node == "" {
		return false
	}
	name, uri := nodeNames(fleet, region, node)
	if named := nodeURIs(c); len(named) > 0 {
		return slices.Contains(named, uri)
	}
	return (c.Subject.CommonName == name || slices.Contains(c.DNSNames, name)) && isOf(region, node, regions)
}

// nodeURIs returns the URIs by which a certificate names nodes.
func nodeURIs(c *x509.Certificate) (named []string) {
	for _, u := range c.URIs {
		if u.Scheme == "mimir" {
			named = append(named, u.String())
		}
	}
	return named
}

// isOf reports whether a name of a node, with that of a region behind it, is of that region. Names may have dots: where
// there are regions west and us.west, the name x.us.west is that of x in us.west, and not of x.us in west.
func isOf(region, node string, regions []string) bool {
	return !slices.ContainsFunc(regions, func(other string) bool {
		return len(other) > len(region) && strings.HasSuffix(node+"."+region, "."+other)
	})
}

// exposed reports whether some address to listen at is reached from other machines.
func exposed(list string) bool { return slices.ContainsFunc(addresses(list), address.Address.Exposed) }

// readOn reports whether what comes to a listener passes in plaintext between machines; secure says that it has TLS.
func readOn(list string, secure bool) bool {
	return slices.ContainsFunc(addresses(list), func(a address.Address) bool {
		return a.Exposed() && !a.Secure(secure)
	})
}

// advice returns what is open on this node, and what to change: for the log at the start, and for status.
func (c *Config) advice() []string {
	list := c.peerAdvice("listen-peer")
	add := func(text string) { list = append(list, text) }
	client := &c.ClientTLS
	plain := readOn(c.ListenClient, client.Enabled())
	if plain {
		add("listen-client is plaintext and reached from other machines: set client-tls")
	}
	if client.Enabled() && !client.RequireClientCert {
		add("client-tls asks nobody for a certificate: whoever gets to listen-client may write and delete; set " +
			"client-tls.ca and client-tls.require-client-cert")
	}
	if c.Operator.TokenFile != "" && plain {
		add("operators' tokens come in plaintext to listen-client: who reads the network has them; set client-tls")
	}
	if readOn(c.ListenHTTP, c.HTTPTLS.Enabled()) {
		add("listen-http is plaintext and reached from other machines: set http-tls")
	}
	return list
}

// peerAdvice is that for the port of nodes, which key names.
func (c *Config) peerAdvice(key string) (list []string) {
	add := func(text string) { list = append(list, strings.ReplaceAll(text, "listen-peer", key)) }
	peer := &c.PeerTLS
	switch {
	case c.KeyOptional:
		add("fleet-key-optional lets in who shows no key: take it away once all nodes have fleet-key-file")
	case !peer.Enabled() && c.FleetKeyFile != "" && exposed(c.ListenPeer):
		add("listen-peer is plaintext and reached from other machines: the fleet key keeps strangers out, not those " +
			"who can read or change what passes in the network; set peer-tls")
	case !peer.Enabled() && exposed(c.ListenPeer):
		add("listen-peer is plaintext and reached from other machines: whoever gets there can speak as any node; set " +
			"peer-tls, or at least fleet-key-file")
	case !peer.Enabled():
	case !peer.RequireClientCert:
		add("peer-tls asks nobody for a certificate: whoever gets to listen-peer can speak as any node; set " +
			"peer-tls.ca, and not peer-tls.require-client-cert to false")
	case !c.PeerRule.set():
		add("any certificate of the authority of peer-tls can speak as any node: set peer-tls.bind to node, or " +
			"peer-tls.allowed-cn or peer-tls.allowed-hostname")
	}
	return list
}
