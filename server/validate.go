package server

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/server/address"
	"github.com/mimir-kv/mimir/server/door"
)

var nameFormat = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// Validate checks every key, and keys against each other. The error is ErrConfig and prints the refused value.
func (c *Config) Validate() error {
	if f := c.faults(); len(f) > 0 {
		return f[0]
	}
	return nil
}

// faults are what is wrong, each an ErrConfig of one line.
type faults []error

func (f *faults) add(format string, args ...any) { f.addError(fmt.Errorf(format, args...)) }

func (f *faults) addError(err error) {
	if err != nil && !errors.Is(err, ErrConfig) {
		err = fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		*f = append(*f, err)
	}
}

// faults returns everything that is wrong.
func (c *Config) faults() (f faults) {
	for _, check := range []func(*faults){
		c.validateNames, c.validateAddresses, c.validateTopology, c.validateTLS, c.validateLimits,
		c.validateBackup, c.validateArchive, c.validateTracing,
	} {
		check(&f)
	}
	f.addError(c.validateTokens())
	if len(f) == 0 { // else it would say the same again
		f.addError(c.Replication.Validate())
	}
	return f
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

func (c *Config) validateNames(f *faults) {
	for _, o := range c.AllowedOrigins {
		f.addError(originOf(o))
	}
	for _, h := range c.AllowedHosts {
		f.addError(hostOf(h))
	}
	if _, err := door.ParseCrowds(c.Crowds); err != nil {
		f.add("crowds: %w", err)
	}
	for _, n := range []struct{ key, text string }{
		{"name", c.Replication.NodeID}, {"region", c.Replication.RegionID}, {"fleet", c.Replication.FleetID},
	} {
		f.addError(validateName(n.key, n.text))
	}
	if c.Replication.DataDir == "" {
		f.add("data-dir is missing")
	}
	f.addError(validateLog(c.LogLevel, c.LogFormat))
	_, err := logNames(c.LogOutputs)
	f.addError(err)
}

// validateLog finds what is wrong with how the log is written.
func validateLog(level, format string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("log-level %q: use debug, info, warn or error", level)
	}
	if format != "text" && format != "json" {
		return fmt.Errorf("log-format %q: use text or json", format)
	}
	return nil
}

func (c *Config) validateAddresses(f *faults) {
	var taken []taker
	for _, one := range []struct {
		key, text string
		check     func(key, list string) ([]address.Address, error)
	}{
		{"listen-client", c.ListenClient, c.ClientTLS.validateListen},
		{"listen-peer", c.ListenPeer, validatePeers},
		{"listen-http", c.ListenHTTP, c.HTTPTLS.validateListen},
	} {
		if one.key == "listen-http" && one.text == "" {
			continue
		}
		list, err := one.check(one.key, one.text)
		f.addError(err)
		for _, a := range list {
			f.addError(meets(taken, one.key, a))
			taken = append(taken, taker{one.key, a})
		}
	}
	_, err := validateAdvertised("advertise-client", c.AdvertiseClient)
	f.addError(err)
	if err := checkAddress(c.Replication.PeerAddr, true); err != nil {
		f.add("advertise-peer %q: %w", c.Replication.PeerAddr, err)
	}
	if c.AdvertiseRegions != advertiseOwn && c.AdvertiseRegions != advertiseAll {
		f.add("advertise-regions %q: use %s or %s", c.AdvertiseRegions, advertiseOwn, advertiseAll)
	}
	if c.InitialClusterState != stateNew && c.InitialClusterState != stateExisting {
		f.add("initial-cluster-state %q: use %s or %s", c.InitialClusterState, stateNew, stateExisting)
	}
}

// taker is a key and an address that it has.
type taker struct {
	key string
	address.Address
}

// meets finds that an address is taken already.
func meets(taken []taker, key string, a address.Address) error {
	for _, b := range taken {
		if a == b.Address && a.Meet(b.Address) {
			return fmt.Errorf("%s and %s are both %q", b.key, key, a.String())
		} else if a.Meet(b.Address) {
			return fmt.Errorf("%s %q and %s %q are the same port", b.key, b.String(), key, a.String())
		}
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
			return fmt.Errorf("%s wants TLS, and %s-tls is not set", a.Scheme, strings.TrimPrefix(key, "listen-"))
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

func (c *Config) validateTopology(f *faults) {
	if _, self := c.Replication.Nodes[c.Replication.NodeID]; c.Replication.Join &&
		(len(c.Replication.Nodes) == 0 || self && len(c.Replication.Nodes) == 1) {
		f.add("nodes is missing: a node that joins needs the nodes that its region has")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Replication.Nodes)) {
		addr := c.Replication.Nodes[name]
		if !nameFormat.MatchString(name) {
			f.add("nodes: %q: not a node name", name)
		}
		if err := checkAddress(addr, true); err != nil {
			f.add("nodes: %s %q: %w", name, addr, err)
		}
	}
	if addr, listed := c.Replication.Nodes[c.Replication.NodeID]; !c.Replication.Join && !listed {
		if c.Replication.NodeID != "" {
			f.add("nodes does not list this node, %q", c.Replication.NodeID)
		}
	} else if listed && addr != c.Replication.PeerAddr {
		f.add("nodes gives this node, %q, the address %q, but advertise-peer is %q", c.Replication.NodeID,
			addr, c.Replication.PeerAddr)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Replication.Regions)) {
		addrs := c.Replication.Regions[name]
		if !nameFormat.MatchString(name) {
			f.add("regions: %q: not a region name", name)
		}
		if name == c.Replication.RegionID {
			f.add("regions lists %q, which is this node's own region", name)
		}
		if len(addrs) == 0 {
			f.add("regions: %s has no address", name)
		}
		for _, addr := range addrs {
			if err := checkAddress(addr, true); err != nil {
				f.add("regions: %s %q: %w", name, addr, err)
			}
		}
	}
	if c.Replication.InitialPrimary == "" {
		if len(c.Replication.Regions) > 0 { // else it is the region that is missing
			f.add("initial-primary is missing: name one of the %d regions", len(c.Replication.Regions)+1)
		}
	} else if _, other := c.Replication.Regions[c.Replication.InitialPrimary]; !other &&
		c.Replication.InitialPrimary != c.Replication.RegionID {
		f.add("initial-primary %q is neither this region, %q, nor in regions", c.Replication.InitialPrimary,
			c.Replication.RegionID)
	}
}

func (c *Config) validateTLS(f *faults) {
	for _, b := range []struct {
		key      string
		block    TLS
		listener bool
	}{{"client-tls", c.ClientTLS, true}, {"peer-tls", c.PeerTLS, true}, {"region-tls", c.RegionTLS, false},
		{"http-tls", c.HTTPTLS, true}} {
		if err := b.block.validate(b.listener); err != nil {
			f.add("%s: %w", b.key, err)
		}
	}
	_, err := c.Handshakes.options()
	f.addError(err)
	if c.HTTPTLS.Enabled() && c.ListenHTTP == "" {
		f.add("http-tls needs listen-http")
	}
	if c.KeyOptional && c.FleetKeyFile == "" {
		f.add("fleet-key-optional needs fleet-key-file")
	}
	if err := c.PeerRule.validate(c.PeerTLS); err != nil {
		f.add("peer-tls: %w", err)
	}
	if err := c.ClientRule.validate(c.ClientTLS); err != nil {
		f.add("client-tls: %w", err)
	}
	if err := c.HTTPRule.validate(c.HTTPTLS); err != nil {
		f.add("http-tls: %w", err)
	}
	f.addError(c.Operator.validate(c.ClientTLS))
	if c.RegionTLS.Enabled() && !c.PeerTLS.Enabled() {
		f.add("region-tls needs peer-tls")
	}
	if c.RegionTLS.RequireClientCert {
		f.add("region-tls: require-client-cert belongs to peer-tls, whose listener serves regions too")
	}
}

func (t TLS) validate(listener bool) error {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return fmt.Errorf("cert %q and key %q belong together", t.Cert, t.Key)
	case (t.ClientCert == "") != (t.ClientKey == ""):
		return fmt.Errorf("client-cert %q and client-key %q belong together", t.ClientCert, t.ClientKey)
	case t.ClientCert != "" && t.Cert == "":
		return errors.New("client-cert needs cert and key, which the listener shows")
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

func (c *Config) validateLimits(f *faults) {
	byKey := map[string]setting{}
	for _, s := range settings {
		byKey[s.key] = s
		if s.check == nil {
			continue
		}
		f.addError(s.check(c))
	}
	for _, pair := range ascending {
		low, high := byKey[pair[0]], byKey[pair[1]]
		if low.number(c) > high.number(c) {
			f.add("%s %s is above %s, which is %s", low.key, low.get(c), high.key, high.get(c))
		}
	}
	if _, err := c.Compaction.policy(); err != nil {
		f.add("auto-compaction: %w", err)
	}
	if _, err := c.RegionRate.caps(); err != nil {
		f.add("%w", err)
	}
	if _, err := c.Durability.rules(); err != nil {
		f.add("%w", err)
	}
	g := c.LagGate
	if g.RefuseBytes != 0 && g.RefuseBytes < g.DelayBytes || g.RefuseTime != 0 && g.RefuseTime < g.DelayTime {
		f.add("lag-gate: writes would be refused (refuse-bytes %s, refuse-time %s) before they are slowed down "+
			"(delay-bytes %s, delay-time %s)", Bytes(g.RefuseBytes), formatDuration(g.RefuseTime), Bytes(g.DelayBytes),
			formatDuration(g.DelayTime))
	}
	r := &c.Replication
	election := r.TickInterval * time.Duration(r.ElectionTicks)
	if election < leastElection || election > mostElection {
		f.add("tick-interval %s times election-ticks %d is %s; it has to be %s to %s: below, no heartbeat "+
			"comes in time, above, a region stands still for as long when its leader dies",
			formatDuration(r.TickInterval), r.ElectionTicks, formatDuration(election), leastElection,
			formatDuration(mostElection))
	}
	if r.CopyRetainBytes != 0 && r.CopyRetainBytes < r.RetainBytes {
		retain, copied := byKey["retain-bytes"], byKey["copy-retain-bytes"]
		f.add("copy-retain-bytes %s is less than retain-bytes, which is %s; 0 lets it follow",
			copied.get(c), retain.get(c))
	}
}
