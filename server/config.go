package server

import (
	"time"

	"github.com/mimir-kv/mimir/kv"
)

// Config is everything one node is told. Each key can be given in the YAML file, as an environment variable
// (MIMIR_ and the key in capitals, dashes as underscores: MIMIR_LISTEN_CLIENT), and as a flag (--listen-client); a flag
// overrides the environment, which overrides the file. Nested keys are joined: client-tls.cert is MIMIR_CLIENT_TLS_CERT
// and --client-tls-cert. Addresses are host:port.
type Config struct {
	// Name of this node, unique in the fleet. Letters, digits, dot, dash and underscore; at most 63.
	Name string `yaml:"name"`
	// Region this node belongs to. The same alphabet as Name.
	Region string `yaml:"region"`
	// Fleet keeps unrelated fleets apart: nodes of different fleets refuse each other. Default "mimir".
	Fleet string `yaml:"fleet"`
	// DataDir holds everything this node keeps. Created if missing.
	DataDir string `yaml:"data-dir"`

	// ListenClient is where clients connect: gRPC and HTTP on one port. Default 127.0.0.1:2379.
	ListenClient string `yaml:"listen-client"`
	// AdvertiseClient is where clients reach this node from outside. Default ListenClient, which must then name a host.
	AdvertiseClient string `yaml:"advertise-client"`
	// ListenPeer is where other nodes connect, of this region and of the others. Default 127.0.0.1:2380.
	ListenPeer string `yaml:"listen-peer"`
	// AdvertisePeer is where other nodes reach this one. Default ListenPeer, which must then name a host.
	AdvertisePeer string `yaml:"advertise-peer"`
	// ListenHTTP, if set, serves metrics and health in plaintext on a port of their own.
	ListenHTTP string `yaml:"listen-http"`
	// Pprof serves Go's profiles on ListenHTTP.
	Pprof bool `yaml:"pprof"`

	// Nodes are the voters that first form this region, this node included: name to peer address. Equal on all of them.
	// Default: this node alone. With Join: the nodes that the region has, this one not needed.
	Nodes map[string]string `yaml:"nodes"`
	// Join says that the region exists already and that this node waits to be added to it.
	Join bool `yaml:"join"`
	// Regions are the other regions: name to peer addresses of some or all of their nodes.
	Regions map[string][]string `yaml:"regions"`
	// InitialPrimary is the region that takes writes first in a new fleet. Equal everywhere. Default: this region if it is the only one.
	InitialPrimary string `yaml:"initial-primary"`

	// ClientTLS secures ListenClient.
	ClientTLS TLS `yaml:"client-tls"`
	// PeerTLS secures ListenPeer and the connections this node makes to others.
	PeerTLS TLS `yaml:"peer-tls"`
	// RegionTLS is for fleets whose regions have certificate authorities of their own: what this node shows to and trusts in
	// other regions, besides what PeerTLS says. Needs PeerTLS.
	RegionTLS TLS `yaml:"region-tls"`

	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string `yaml:"log-level"`
	// LogFormat is text or json. Default text.
	LogFormat string `yaml:"log-format"`

	// MaxRequestBytes bounds one client request. Default 1.5 MiB; at most 32 MiB.
	MaxRequestBytes Bytes `yaml:"max-request-bytes"`
	// MaxTxnOps bounds the operations of one transaction. Default 128.
	MaxTxnOps int `yaml:"max-txn-ops"`
	// CacheBytes is the memory that holds hot blocks of the store. Default kv.DefaultCacheBytes.
	CacheBytes Bytes `yaml:"cache-bytes"`
	// MemTableBytes is the size of a memory table of the store. Default kv.DefaultMemTableBytes.
	MemTableBytes Bytes `yaml:"mem-table-bytes"`
	// RetainBytes is how much log is kept for a slow or absent region before it has to bootstrap. Default 8 GiB.
	RetainBytes Bytes `yaml:"retain-bytes"`
	// SegmentBytes is the size of a log segment. Default 64 MiB.
	SegmentBytes Bytes `yaml:"segment-bytes"`

	// TickInterval is the unit of Raft time. Default 100ms.
	TickInterval time.Duration `yaml:"tick-interval"`
	// ElectionTicks is how many ticks without a leader start an election. Default 10; at least 3.
	ElectionTicks int `yaml:"election-ticks"`
	// ShutdownTimeout bounds a stop in good order. Default 10s.
	ShutdownTimeout time.Duration `yaml:"shutdown-timeout"`
}

// TLS names the files that secure a listener or a dialer; all empty means plaintext. Files are read again when they change.
type TLS struct {
	// Cert and Key are PEM files: the certificate with its chain, and its key.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// CA is a PEM file with the authorities trusted to sign the other side. Default: the machine's, for dialers.
	CA string `yaml:"ca"`
	// RequireClientCert makes a listener refuse whoever has no certificate signed by CA.
	RequireClientCert bool `yaml:"require-client-cert"`
}

// Enabled reports whether any file is named.
func (t TLS) Enabled() bool { return t.Cert != "" || t.Key != "" || t.CA != "" }

// DefaultConfig returns the defaults; Name, Region and DataDir have none.
func DefaultConfig() Config {
	return Config{
		Fleet:           "mimir",
		ListenClient:    "127.0.0.1:2379",
		ListenPeer:      "127.0.0.1:2380",
		LogLevel:        "info",
		LogFormat:       "text",
		MaxRequestBytes: 3 << 19,
		MaxTxnOps:       128,
		CacheBytes:      kv.DefaultCacheBytes,
		MemTableBytes:   kv.DefaultMemTableBytes,
		RetainBytes:     8 << 30,
		SegmentBytes:    64 << 20,
		TickInterval:    100 * time.Millisecond,
		ElectionTicks:   10,
		ShutdownTimeout: 10 * time.Second,
	}
}

// complete fills what defaults to other keys.
func (c *Config) complete() {
	if c.AdvertiseClient == "" {
		c.AdvertiseClient = c.ListenClient
	}
	if c.AdvertisePeer == "" {
		c.AdvertisePeer = c.ListenPeer
	}
	if len(c.Nodes) == 0 && !c.Join && c.Name != "" {
		c.Nodes = map[string]string{c.Name: c.AdvertisePeer}
	}
	if c.InitialPrimary == "" && len(c.Regions) == 0 {
		c.InitialPrimary = c.Region
	}
}

// ClientURL is the advertised client address as a URL.
func (c *Config) ClientURL() string {
	if c.ClientTLS.Enabled() {
		return "https://" + c.AdvertiseClient
	}
	return "http://" + c.AdvertiseClient
}
