package server

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/server/address"
)

var nameFormat = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// Validate checks every key, and keys against each other. The error is ErrConfig and prints the refused value.
func (c *Config) Validate() error {
	for _, check := range []func() error{
		c.validateNames, c.validateAddresses, c.validateTopology, c.validateTLS, c.validateTokens,
		c.validateLimits,
		c.Replication.Validate,
	} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}

// validateName finds what is wrong with the name that key has.
func validateName(key, text string) error {
	if text == "" {
		return fmt.Errorf("%s is missing", key)
	}
	if !nameFormat.MatchString(text) {
		return fmt.Errorf("%s %q: use up to 63 letters, digits, dots, dashes and underscores", key, text)
	}
	return nil
}

func (c *Config) validateNames() error {
	for _, f := range []struct{ key, text string }{
		{"name", c.Replication.NodeID}, {"region", c.Replication.RegionID}, {"fleet", c.Replication.FleetID},
	} {
		if err := validateName(f.key, f.text); err != nil {
			return err
		}
	}
	if c.Replication.DataDir == "" {
		return fmt.Errorf("data-dir is missing")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return fmt.Errorf("log-level %q: use debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log-format %q: use text or json", c.LogFormat)
	}
	return nil
}

func (c *Config) validateAddresses() error {
	type place struct {
		key string
		address.Address
	}
	var taken []place
	for _, f := range []struct {
		key, text string
		check     func(key, list string) ([]address.Address, error)
	}{
		{"listen-client", c.ListenClient, c.ClientTLS.validateListen},
		{"advertise-client", c.AdvertiseClient, validateAdvertised},
		{"listen-peer", c.ListenPeer, validatePeers},
		{"listen-http", c.ListenHTTP, c.HTTPTLS.validateListen},
	} {
		if f.key == "listen-http" && f.text == "" {
			continue
		}
		list, err := f.check(f.key, f.text)
		if err != nil {
			return err
		}
		for _, a := range list { // what is advertised is listened at elsewhere, or by the same key
			if f.key == "advertise-client" {
				break
			}
			for _, b := range taken {
				if a.Meet(b.Address) && a == b.Address {
					return fmt.Errorf("%s and %s are both %q", b.key, f.key, a.String())
				} else if a.Meet(b.Address) {
					return fmt.Errorf("%s %q and %s %q are the same port", b.key, b.String(), f.key, a.String())
				}
			}
			taken = append(taken, place{f.key, a})
		}
	}
	if err := checkAddress(c.Replication.PeerAddr, true); err != nil {
		return fmt.Errorf("advertise-peer %q: %w", c.Replication.PeerAddr, err)
	}
	if c.AdvertiseRegions != advertiseOwn && c.AdvertiseRegions != advertiseAll {
		return fmt.Errorf("advertise-regions %q: use %s or %s", c.AdvertiseRegions, advertiseOwn, advertiseAll)
	}
	if c.InitialClusterState != stateNew && c.InitialClusterState != stateExisting {
		return fmt.Errorf("initial-cluster-state %q: use %s or %s", c.InitialClusterState, stateNew, stateExisting)
	}
	if c.Pprof && c.ListenHTTP == "" {
		return fmt.Errorf("pprof needs listen-http")
	}
	return nil
}

// eachAddress checks every address of a list, and returns them.
func eachAddress(key, list string, check func(address.Address) error) (found []address.Address, err error) {
	for _, text := range address.Split(list) {
		a, err := address.Parse(text)
		if err == nil {
			err = check(a)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", key, text, err)
		}
		found = append(found, a)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s %q: want host:port", key, list)
	}
	return found, nil
}

// validateListen checks where a listener is that the block secures.
func (t TLS) validateListen(key, list string) ([]address.Address, error) {
	return eachAddress(key, list, func(a address.Address) error {
		if a.Secure(false) && !t.Enabled() {
			return fmt.Errorf("%s wants TLS, and %s is not set", a.Scheme, strings.Replace(key, "listen-", "", 1)+"-tls")
		}
		return nil
	})
}

func validateAdvertised(key, list string) ([]address.Address, error) {
	return eachAddress(key, list, func(a address.Address) error {
		if !a.Reachable() {
			return errUnreachable
		}
		return nil
	})
}

// validatePeers checks where other nodes come to: whether with TLS is said by peer-tls alone.
func validatePeers(key, list string) ([]address.Address, error) {
	return eachAddress(key, list, func(a address.Address) error {
		if a.Scheme != "" {
			return errors.New("want host:port alone: nodes have one port, and peer-tls says whether it has TLS")
		}
		return nil
	})
}

var errUnreachable = errors.New("others cannot dial it; set an address with a host and a port")

// checkAddress wants host:port, and a host and port that others can dial if reachable.
func checkAddress(text string, reachable bool) error {
	a, err := address.Parse(text)
	switch {
	case err != nil:
		return err
	case a.Scheme != "":
		return errors.New("want host:port, without a scheme")
	case reachable && !a.Reachable():
		return errUnreachable
	default:
		return nil
	}
}

func (c *Config) validateTopology() error {
	if _, self := c.Replication.Nodes[c.Replication.NodeID]; c.Replication.Join &&
		(len(c.Replication.Nodes) == 0 || self && len(c.Replication.Nodes) == 1) {
		return fmt.Errorf("nodes is missing: a node that joins needs the nodes that its region has")
	}
	for name, addr := range c.Replication.Nodes {
		if !nameFormat.MatchString(name) {
			return fmt.Errorf("nodes: %q: not a node name", name)
		}
		if err := checkAddress(addr, true); err != nil {
			return fmt.Errorf("nodes: %s %q: %w", name, addr, err)
		}
	}
	if addr, listed := c.Replication.Nodes[c.Replication.NodeID]; !c.Replication.Join && !listed {
		return fmt.Errorf("nodes does not list this node, %q", c.Replication.NodeID)
	} else if listed && addr != c.Replication.PeerAddr {
		return fmt.Errorf("nodes gives this node, %q, the address %q, but advertise-peer is %q", c.Replication.NodeID,
			addr, c.Replication.PeerAddr)
	}
	for name, addrs := range c.Replication.Regions {
		if !nameFormat.MatchString(name) {
			return fmt.Errorf("regions: %q: not a region name", name)
		}
		if name == c.Replication.RegionID {
			return fmt.Errorf("regions lists %q, which is this node's own region", name)
		}
		if len(addrs) == 0 {
			return fmt.Errorf("regions: %s has no address", name)
		}
		for _, addr := range addrs {
			if err := checkAddress(addr, true); err != nil {
				return fmt.Errorf("regions: %s %q: %w", name, addr, err)
			}
		}
	}
	if c.Replication.InitialPrimary == "" {
		return fmt.Errorf("initial-primary is missing: name one of the %d regions", len(c.Replication.Regions)+1)
	}
	if _, other := c.Replication.Regions[c.Replication.InitialPrimary]; !other &&
		c.Replication.InitialPrimary != c.Replication.RegionID {
		return fmt.Errorf("initial-primary %q is neither this region, %q, nor in regions", c.Replication.InitialPrimary,
			c.Replication.RegionID)
	}
	return nil
}

func (c *Config) validateTLS() error {
	for _, b := range []struct {
		key      string
		block    TLS
		listener bool
	}{{"client-tls", c.ClientTLS, true}, {"peer-tls", c.PeerTLS, true}, {"region-tls", c.RegionTLS, false},
		{"http-tls", c.HTTPTLS, true}} {
		if err := b.block.validate(b.listener); err != nil {
			return fmt.Errorf("%s: %w", b.key, err)
		}
	}
	if _, err := c.Handshakes.options(); err != nil {
		return err
	}
	if c.HTTPTLS.Enabled() && c.ListenHTTP == "" {
		return fmt.Errorf("http-tls needs listen-http")
	}
	if c.KeyOptional && c.FleetKeyFile == "" {
		return fmt.Errorf("fleet-key-optional needs fleet-key-file")
	}
	if err := c.PeerRule.validate(c.PeerTLS); err != nil {
		return fmt.Errorf("peer-tls: %w", err)
	}
	if err := c.Operator.validate(c.ClientTLS); err != nil {
		return err
	}
	if c.RegionTLS.Enabled() && !c.PeerTLS.Enabled() {
		return fmt.Errorf("region-tls needs peer-tls")
	}
	if c.RegionTLS.RequireClientCert {
		return fmt.Errorf("region-tls: require-client-cert belongs to peer-tls, whose listener serves regions too")
	}
	return nil
}

func (t TLS) validate(listener bool) error {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return fmt.Errorf("cert %q and key %q belong together", t.Cert, t.Key)
	case t.Enabled() && listener && t.Cert == "":
		return fmt.Errorf("ca %q without cert and key", t.CA)
	case t.CRL != "" && t.CA == "":
		return errors.New("crl needs ca")
	case t.RequireClientCert && t.CA == "":
		return errors.New("require-client-cert needs ca")
	default:
		return nil
	}
}

// What lies between the loss of a leader and an election.
const (
	leastElection = 20 * time.Millisecond
	mostElection  = time.Minute
)

func (c *Config) validateLimits() error {
	byKey := map[string]setting{}
	for _, s := range settings {
		byKey[s.key] = s
		if s.check == nil {
			continue
		}
		if err := s.check(c); err != nil {
			return err
		}
	}
	for _, pair := range ascending {
		low, high := byKey[pair[0]], byKey[pair[1]]
		if low.number(c) > high.number(c) {
			return fmt.Errorf("%s %s is above %s, which is %s", low.key, low.get(c), high.key, high.get(c))
		}
	}
	if _, err := c.Compaction.policy(); err != nil {
		return fmt.Errorf("auto-compaction: %w", err)
	}
	r := &c.Replication
	election := r.TickInterval * time.Duration(r.ElectionTicks)
	if election < leastElection || election > mostElection {
		return fmt.Errorf("tick-interval %s times election-ticks %d is %s; it has to be %s to %s: below, no heartbeat "+
			"comes in time, above, a region stands still for as long when its leader dies",
			formatDuration(r.TickInterval), r.ElectionTicks, formatDuration(election), leastElection,
			formatDuration(mostElection))
	}
	if r.CopyRetainBytes != 0 && r.CopyRetainBytes < r.RetainBytes {
		retain, copied := byKey["retain-bytes"], byKey["copy-retain-bytes"]
		return fmt.Errorf("copy-retain-bytes %s is less than retain-bytes, which is %s; 0 lets it follow",
			copied.get(c), retain.get(c))
	}
	return nil
}
