package server

import (
	"maps"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/server/autocompact"
)

// Config is everything one node is told. What each key means, its default and its bounds stand in settings.go, once:
// from there come the YAML file, the environment, the flags and docs/configuration.md.
type Config struct {
	// Replication, Store, Peers and Limits are handed to the rooms below as they are; server adds the wiring.
	Replication replication.Config
	Store       kv.Options
	Peers       grpctransport.Options
	Limits      etcdapi.Limits
	// CountedKeys is of earlier versions: without a positive one the store has no Store.CountBytes.
	CountedKeys int

	// Listen… are addresses to bind, as package address has them, separated by commas. ListenHTTP may be empty.
	ListenClient, ListenPeer, ListenHTTP string
	// AdvertiseClient is where clients reach this node from outside, likewise.
	AdvertiseClient string
	// AdvertiseRegions says whose nodes clients are told of that ask for the members: own or all.
	AdvertiseRegions string
	// AllowedOrigins are those of web pages that may use the JSON gateway.
	AllowedOrigins []string
	// AllowedHosts are the names and addresses for which requests in plaintext may be; none: any.
	AllowedHosts []string
	// Pprof serves Go's profiles on ListenHTTP.
	Pprof bool

	// ClientTLS secures ListenClient; PeerTLS secures ListenPeer and the connections to other nodes; RegionTLS is what
	// this node shows to and trusts in other regions besides.
	ClientTLS, PeerTLS, RegionTLS TLS

	// HTTPTLS secures ListenHTTP.
	HTTPTLS TLS
	// Keepalive is how clients that are gone are found out.
	Keepalive Keepalive
	// Handshakes are the bounds of all of them.
	Handshakes Handshakes

	// FleetKeyFile has the keys that nodes show each other, one a line; KeyOptional lets in who shows none.
	FleetKeyFile string
	KeyOptional  bool

	// EncryptionKeyFile has the keys of the data directory, one a line, the active one first; empty for none.
	EncryptionKeyFile string

	// PeerRule says more of the certificates that PeerTLS takes for those of nodes, ClientRule of those that ClientTLS
	// takes, and HTTPRule of those that HTTPTLS does.
	PeerRule             PeerRule
	ClientRule, HTTPRule ClientRule

	// Operator says who is an operator, and where the audit log of what operators do goes.
	Operator Operator

	// AuthToken is what clients get that log in, AuthTokenTTL for how long it counts if it is a simple one, and
	// BcryptCost what hashing a password costs.
	AuthToken    string
	AuthTokenTTL time.Duration
	BcryptCost   int

	notes []string // of what was said and means nothing, for the log

	LogLevel, LogFormat string
	// LogOutputs are stderr, stdout and files to which the log goes.
	LogOutputs []string
	// MaxConnections is how many clients may be connected; 0 for what the limit of open files leaves.
	MaxConnections int
	// Crowds are networks in which an address may have many behind it, as [door.ParseCrowds] reads them.
	Crowds []string

	// InitialClusterState says whether the start may form a fleet: new or existing.
	InitialClusterState string
	// PartialRegionsFile says which partial regions may follow this node, and what; empty: none.
	PartialRegionsFile string
	// Failover is what the first charter of the fleet says, if Automatic is set.
	Failover Failover

	// MemoryBytes is what the process is to stay within, 0 for no such bound; see MemoryLimit.
	MemoryBytes int64
	// QuotaBytes bounds what the store takes on this node's disk, and DiskReserveBytes what stays free there; 0 for no
	// quota, and for a reserve that fits the other sizes. Past either the fleet takes no writes.
	QuotaBytes, DiskReserveBytes int64

	// Compare is how all nodes of the fleet are compared with each other.
	Compare Compare

	// Compaction is what of the history is kept: auto-compaction-mode and auto-compaction-retention.
	Compaction Compaction
	// Durability is in which regions writes have to be before they are acknowledged.
	Durability Durability
	// LagGate bounds how far other regions may be behind.
	LagGate LagGate
	// RegionRate is how fast copies and the stream go to other regions at most.
	RegionRate RegionRate
	// Archive is where the log is archived.
	Archive Archive
	// Backup says where backups go by themselves.
	Backup Backup
	// Tracing says which requests are traced, and who is told.
	Tracing Tracing
	// SlowRequest is how long a request may take before the log is told, 0 for any time.
	SlowRequest time.Duration

	// ShutdownTimeout bounds a stop in good order.
	ShutdownTimeout time.Duration

	// origins says where settings were set, by key: a file, a variable, a flag, an order. It is replaced, never
	// changed.
	origins map[string]string
}

// from notes where a setting was set.
func (c *Config) from(key, origin string) {
	origins := maps.Clone(c.origins)
	if origins == nil {
		origins = map[string]string{}
	}
	origins[key] = origin
	c.origins = origins
}

// Compaction is a policy of package autocompact, as it is written.
type Compaction struct{ Mode, Retention string }

func (c Compaction) policy() (autocompact.Policy, error) {
	return autocompact.Parse(c.Mode, c.Retention)
}

// Failover is by which rules the primary moves by itself, and who votes beside the regions.
type Failover struct {
	Automatic         bool
	Lease, Patience   time.Duration
	DriftPPM, MaxLoss int // MaxLoss -1: any
	StopWrites        bool
	Witnesses         map[string][]string
	Priority          int // of this region; 0: never primary
}

// Settings returns them as the library wants them.
func (f *Failover) Settings() replication.VoteSettings {
	s := replication.VoteSettings{
		Automatic: f.Automatic, Lease: f.Lease, Patience: f.Patience, DriftPPM: uint32(f.DriftPPM),
		MaxLoss: uint64(f.MaxLoss), StopWrites: f.StopWrites, Witnesses: f.Witnesses,
	}
	if f.MaxLoss < 0 {
		s.MaxLoss = replication.AnyLoss
	}
	return s
}

// TLS names the files that secure a listener or a dialer; all empty means plaintext. Files are read again when they
// change, see package trust.
type TLS struct {
	// Cert and Key are PEM files: the certificate with its chain, and its key.
	Cert, Key string
	// ClientCert and ClientKey are shown, of a block that secures both a listener and a dialer, by the dialer in place
	// of Cert.
	ClientCert, ClientKey string
	// CA is a PEM file with the authorities trusted to sign the other side. Default: the machine's, for dialers.
	CA string
	// CRL is a file of lists of certificates that the authorities of CA have revoked: PEM, or one list of DER.
	CRL string
	// RequireClientCert makes a listener refuse whoever has no certificate signed by CA.
	RequireClientCert bool
	// Lenient says that RequireClientCert was set to false, where it would follow from CA.
	Lenient bool
}

// Enabled reports whether any file is named.
func (t TLS) Enabled() bool { return t.Cert != "" || t.Key != "" || t.CA != "" }

// complete has a block for nodes ask them for certificates where it says who signs them.
func (t *TLS) complete() {
	t.RequireClientCert = t.RequireClientCert || t.CA != "" && t.Cert != "" && !t.Lenient
}

// DefaultConfig returns the defaults; name, region and data-dir have none.
func DefaultConfig() Config {
	var c Config
	for _, s := range settings {
		s.reset(&c)
	}
	return c
}

// complete fills what defaults to other keys.
func (c *Config) complete() {
	r := &c.Replication
	c.PeerTLS.complete()
	c.shareMemory(c.MemoryBytes)
	if c.AdvertiseClient == "" {
		c.AdvertiseClient = reached(c.ListenClient)
	}
	if r.PeerAddr == "" {
		r.PeerAddr, _, _ = strings.Cut(reached(c.ListenPeer), ",")
	}
	if r.Priority = c.Failover.Priority; r.Priority == 0 || r.ApplyDelay > 0 {
		r.Priority = replication.NeverPrimary
	}
	if c.Failover.Automatic {
		s := c.Failover.Settings()
		r.Votes = &s
	}
	if len(r.Nodes) == 0 && !r.Join && r.NodeID != "" {
		r.Nodes = map[string]string{r.NodeID: r.PeerAddr}
	}
	r.FleetExists = c.InitialClusterState == stateExisting
	if b := &c.Backup; b.To != "" && b.Region == "" && len(r.Regions) == 0 {
		b.Region = r.RegionID
	}
	if r.InitialPrimary == "" && len(r.Regions) == 0 {
		r.InitialPrimary = r.RegionID
	}
}

// reached returns the addresses of a list that others reach over the network; all if there is none.
func reached(list string) string {
	var found []string
	for _, a := range addresses(list) {
		if !a.Socket() && a.Reachable() {
			found = append(found, a.String())
		}
	}
	if len(found) == 0 {
		return list
	}
	return strings.Join(found, ",")
}

// ClientURL is the first advertised client address as a URL.
func (c *Config) ClientURL() string { return c.ClientURLs()[0] }

// ClientURLs are the advertised client addresses as URLs; at least one.
func (c *Config) ClientURLs() (urls []string) {
	for _, a := range addresses(c.AdvertiseClient) {
		urls = append(urls, a.URL(c.ClientTLS.Enabled()))
	}
	return urls
}

// Compare says how often all nodes are compared whole, 0 for never, and how fast at most.
type Compare struct {
	Every          time.Duration
	BytesPerSecond int64
}
