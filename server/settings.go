package server

import (
	"strings"

	"github.com/spf13/pflag"
)

// setting is one key of the configuration as the environment and the command line see it.
type setting struct {
	key   string
	help  string
	field func(*Config) value
}

// settings lists every key of Config. A test holds it against the struct's YAML keys.
var settings = append([]setting{
	{"name", "name of this node, unique in the fleet", func(c *Config) value { return stringValue(&c.Name) }},
	{"region", "region this node belongs to", func(c *Config) value { return stringValue(&c.Region) }},
	{"fleet", "identity of the fleet", func(c *Config) value { return stringValue(&c.Fleet) }},
	{"data-dir", "directory of everything this node keeps", func(c *Config) value { return stringValue(&c.DataDir) }},
	{"listen-client", "address for clients", func(c *Config) value { return stringValue(&c.ListenClient) }},
	{"advertise-client", "address at which clients reach this node", func(c *Config) value { return stringValue(&c.AdvertiseClient) }},
	{"listen-peer", "address for other nodes", func(c *Config) value { return stringValue(&c.ListenPeer) }},
	{"advertise-peer", "address at which other nodes reach this one", func(c *Config) value { return stringValue(&c.AdvertisePeer) }},
	{"listen-http", "plaintext address for metrics and health", func(c *Config) value { return stringValue(&c.ListenHTTP) }},
	{"pprof", "serve profiles on listen-http", func(c *Config) value { return boolValue(&c.Pprof) }},
	{"nodes", "voters that first form the region; with join, the nodes it has", func(c *Config) value { return nodesValue(&c.Nodes) }},
	{"join", "wait to be added to a region that exists", func(c *Config) value { return boolValue(&c.Join) }},
	{"regions", "peer addresses of the other regions", func(c *Config) value { return regionsValue(&c.Regions) }},
	{"initial-primary", "region that takes writes first", func(c *Config) value { return stringValue(&c.InitialPrimary) }},
	{"log-level", "debug, info, warn or error", func(c *Config) value { return stringValue(&c.LogLevel) }},
	{"log-format", "text or json", func(c *Config) value { return stringValue(&c.LogFormat) }},
	{"max-request-bytes", "largest client request", func(c *Config) value { return bytesValue(&c.MaxRequestBytes) }},
	{"max-txn-ops", "most operations in a transaction", func(c *Config) value { return intValue(&c.MaxTxnOps) }},
	{"cache-bytes", "memory for hot blocks of the store", func(c *Config) value { return bytesValue(&c.CacheBytes) }},
	{"mem-table-bytes", "size of a memory table of the store", func(c *Config) value { return bytesValue(&c.MemTableBytes) }},
	{"retain-bytes", "log kept for an absent region", func(c *Config) value { return bytesValue(&c.RetainBytes) }},
	{"segment-bytes", "size of a log segment", func(c *Config) value { return bytesValue(&c.SegmentBytes) }},
	{"tick-interval", "unit of Raft time", func(c *Config) value { return durationValue(&c.TickInterval) }},
	{"election-ticks", "ticks without a leader that start an election", func(c *Config) value { return intValue(&c.ElectionTicks) }},
	{"shutdown-timeout", "bound of a stop in good order", func(c *Config) value { return durationValue(&c.ShutdownTimeout) }},
}, tlsSettings()...)

func tlsSettings() []setting {
	var all []setting
	for _, block := range []struct {
		key string
		at  func(*Config) *TLS
	}{
		{"client-tls", func(c *Config) *TLS { return &c.ClientTLS }},
		{"peer-tls", func(c *Config) *TLS { return &c.PeerTLS }},
		{"region-tls", func(c *Config) *TLS { return &c.RegionTLS }},
	} {
		all = append(all,
			setting{block.key + "-cert", "PEM file of the certificate", func(c *Config) value { return stringValue(&block.at(c).Cert) }},
			setting{block.key + "-key", "PEM file of the key", func(c *Config) value { return stringValue(&block.at(c).Key) }},
			setting{block.key + "-ca", "PEM file of the trusted authorities", func(c *Config) value { return stringValue(&block.at(c).CA) }},
			setting{block.key + "-require-client-cert", "refuse whoever has no trusted certificate",
				func(c *Config) value { return boolValue(&block.at(c).RequireClientCert) }},
		)
	}
	return all
}

func (s setting) env() string { return "MIMIR_" + strings.ToUpper(strings.ReplaceAll(s.key, "-", "_")) }

// AddFlags adds a flag for every key.
func AddFlags(flags *pflag.FlagSet) {
	defaults := DefaultConfig()
	for _, s := range settings {
		f := flags.VarPF(s.field(&defaults), s.key, "", s.help)
		if s.field(&defaults).kind == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}
