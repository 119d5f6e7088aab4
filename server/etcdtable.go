package server

import (
	"slices"
	"strings"
)

// etcdFlag is a flag of etcd's server, and what becomes of it here: one of same, to, ignored and refused is set.
type etcdFlag struct {
	name string
	bool bool // its value may be left out, and is true then
	// fileOnly says that etcd has it in its file, by this name, and as neither flag nor variable.
	fileOnly bool
	// same says that a setting has this name and means this.
	same bool
	// to gives its value to the settings of keys.
	to   func(e *etcdGiven, c *Config, text string) error
	keys []string
	// ignored says why it means nothing here.
	ignored string
	// refused says what to do instead; the values of harmless, and none, mean nothing here too.
	refused  string
	harmless []string
	told     string // of one that goes its own way, for people
}

// Reasons that several flags share.
const (
	boltOnly     = "it is about etcd's engine, Mimir has another one"
	logInBytes   = "the log is kept and released by bytes here: compact-bytes, retain-bytes"
	noDiscovery  = "nodes are not discovered: list them in nodes (initial-cluster)"
	ownCheck     = "every entry and every file carries a check sum, which is looked at whenever it is read"
	allCompared  = "all nodes are compared by themselves: see compare.every, and docs/operating.md, Are all nodes equal"
	onlyWithTrue = "it belongs to what is refused"
	etcdIgnores  = "etcd ignores it too"
	ownLease     = "a lease begins anew, with its whole time, at the leader that takes over, as in etcd without it"
	alwaysOn     = "it is always so"
	alwaysOff    = "nothing here needs it"
	noCompactH   = "old versions are removed in bounded steps, always"
)

func sameAs(names ...string) (list []etcdFlag) {
	for _, name := range names {
		list = append(list, etcdFlag{name: name, same: true})
	}
	return list
}

func ignoring(reason string, names ...string) (list []etcdFlag) {
	for _, name := range names {
		list = append(list, etcdFlag{name: name, ignored: reason})
	}
	return list
}

func refusingEtcd(hint string, harmless []string, names ...string) (list []etcdFlag) {
	for _, name := range names {
		list = append(list, etcdFlag{name: name, refused: hint, harmless: harmless})
	}
	return list
}

// switches are flags whose value may be left out.
func switches(list []etcdFlag) []etcdFlag {
	for i := range list {
		list[i].bool = true
	}
	return list
}

// etcdFlags are those of etcd 3.7.3, and those of 3.5 that it has no more.
var etcdFlags = slices.Concat(
	sameAs("name", "data-dir", "initial-cluster-state", "quota-backend-bytes", "max-txn-ops", "max-request-bytes",
		"max-concurrent-streams", "auto-compaction-mode", "auto-compaction-retention", "tls-min-version",
		"tls-max-version", "auth-token", "auth-token-ttl", "bcrypt-cost", "log-level", "log-format", "log-outputs",
		"warning-unary-request-duration",
		"grpc-keepalive-min-time", "grpc-keepalive-interval", "grpc-keepalive-timeout"),
	[]etcdFlag{
		{name: "listen-client-urls", keys: []string{"listen-client"}, to: (*etcdGiven).listenClient},
		{name: "listen-client-http-urls", keys: []string{"listen-client"}, to: (*etcdGiven).listenMore},
		{name: "advertise-client-urls", keys: []string{"advertise-client"}, to: asList("advertise-client")},
		{name: "listen-peer-urls", keys: []string{"listen-peer"}, to: (*etcdGiven).listenPeer},
		{name: "initial-advertise-peer-urls", keys: []string{"advertise-peer"}, to: (*etcdGiven).advertisePeer},
		{name: "listen-metrics-urls", keys: []string{"listen-http"}, to: asList("listen-http")},
		{name: "initial-cluster", keys: []string{"nodes"}, to: (*etcdGiven).initialCluster},
		{name: "initial-cluster-token", keys: []string{"fleet"}, to: as("fleet")},
		{name: "heartbeat-interval", keys: []string{"tick-interval"}, to: (*etcdGiven).heartbeat},
		{name: "election-timeout", keys: []string{"election-ticks"}, to: (*etcdGiven).election},
		{name: "cert-file", keys: []string{"client-tls.cert"}, to: as("client-tls.cert")},
		{name: "key-file", keys: []string{"client-tls.key"}, to: as("client-tls.key")},
		{name: "trusted-ca-file", keys: []string{"client-tls.ca"}, to: authorities("client-tls")},
		{name: "client-cert-auth", keys: []string{"client-tls.require-client-cert"},
			to: ifTrue("client-tls"), bool: true},
		{name: clientCN, keys: []string{"client-tls.allowed-cn"}, fileOnly: true,
			to: asNames(func(c *Config) *[]string { return &c.ClientRule.AllowedCN })},
		{name: "client-cert-allowed-hostname", keys: []string{"client-tls.allowed-hostname"},
			to: as("client-tls.allowed-hostname")},
		{name: "peer-cert-file", keys: []string{"peer-tls.cert"}, to: as("peer-tls.cert")},
		{name: "peer-key-file", keys: []string{"peer-tls.key"}, to: as("peer-tls.key")},
		{name: "peer-client-cert-file", keys: []string{"peer-tls.client-cert"}, to: as("peer-tls.client-cert")},
		{name: "peer-client-key-file", keys: []string{"peer-tls.client-key"}, to: as("peer-tls.client-key")},
		{name: "peer-trusted-ca-file", keys: []string{"peer-tls.ca"}, to: authorities("peer-tls")},
		{name: "peer-client-cert-auth", keys: []string{"peer-tls.require-client-cert"},
			to: ifTrue("peer-tls"), bool: true},
		{name: "peer-cert-allowed-cn", keys: []string{"peer-tls.allowed-cn"},
			to: asNames(func(c *Config) *[]string { return &c.PeerRule.AllowedCN })},
		{name: "peer-cert-allowed-hostname", keys: []string{"peer-tls.allowed-hostname"},
			to: as("peer-tls.allowed-hostname")},
		{name: "client-crl-file", keys: []string{"client-tls.crl"}, to: as("client-tls.crl")},
		{name: "peer-crl-file", keys: []string{"peer-tls.crl"}, to: as("peer-tls.crl")},
		{name: "cipher-suites", keys: []string{"tls-cipher-suites"}, to: (*etcdGiven).cipherSuites},
		{name: "host-whitelist", keys: []string{"allowed-hosts"}, to: as("allowed-hosts")},
		{name: "enable-pprof", keys: []string{"pprof"}, to: as("pprof"), bool: true},
		{name: "watch-progress-notify-interval", keys: []string{"watch-progress-interval"},
			to: as("watch-progress-interval")},
	},

	ignoring(logInBytes, "snapshot-count", "snapshot-catchup-entries", "max-snapshots", "max-wals"),
	ignoring(boltOnly, "backend-bbolt-freelist-type", "backend-batch-interval", "backend-batch-limit",
		"bootstrap-defrag-threshold-megabytes"),
	switches(ignoring(boltOnly, "memory-mlock")),
	switches(ignoring(alwaysOn, "pre-vote", "strict-reconfig-check", "socket-reuse-address")),
	switches(ignoring("an election waits its whole time", "initial-election-tick-advance")),
	switches(ignoring("what is acknowledged is on disk, always", "unsafe-no-fsync")),
	switches(ignoring("the address of who connects is not looked at: see peer-tls.bind",
		"peer-skip-client-san-verification")),
	ignoring("see peer-dead-after", "raft-read-timeout", "raft-write-timeout"),
	ignoring(allCompared, "corrupt-check-time", "compact-hash-check-time"),
	ignoring(noCompactH, "compaction-batch-limit", "compaction-sleep-interval"),
	ignoring("there is one size of metrics", "metrics"),
	ignoring("see warning-unary-request-duration", "warning-apply-duration"),
	ignoring("their number has no bound", "max-learners"),
	ignoring("there is no such check: see docs/operating.md, Upgrade", "downgrade-check-time"),
	ignoring("there is no store of version 2", "v2-deprecation"),
	ignoring("the JSON gateway shows no certificate: it is in this process", "client-cert-file", "client-key-file"),
	ignoring(onlyWithTrue, "self-signed-cert-validity", "log-rotation-config-json", "discovery-dial-timeout",
		"discovery-request-timeout", "discovery-keepalive-time", "discovery-keepalive-timeout", "discovery-cert",
		"discovery-key", "discovery-cacert", "discovery-user", "discovery-password", "discovery-fallback",
		"discovery-proxy", "discovery-srv-name"),
	switches(ignoring(onlyWithTrue, "discovery-insecure-transport", "discovery-insecure-skip-tls-verify")),
	switches(ignoring(etcdIgnores, "cluster-active-size", "cluster-remove-delay", "cluster-sync-interval", "force",
		"max-result-buffer", "max-retry-attempts", "peer-heartbeat-interval", "peer-election-timeout",
		"retry-interval", "snapshot", "v", "vv")),

	refusingEtcd(noDiscovery, nil, "discovery", "discovery-token", "discovery-endpoints", "discovery-srv"),
	refusingEtcd("the log has no directory of its own: put data-dir on the faster disk", nil, "wal-dir"),
	switches(refusingEtcd("a server makes no certificates, which nobody could check: `mimir cert` makes those of a "+
		"whole fleet, see docs/certificates.md", []string{"false"}, "auto-tls")),
	switches(refusingEtcd("whoever signs his own certificate could speak as any node: `mimir cert` makes certificates "+
		"that name their nodes, see docs/certificates.md", []string{"false"}, "peer-auto-tls")),
	switches(refusingEtcd("what is left of a fleet is put right by `mimir fleet`: see docs/failover.md",
		[]string{"false"},
		"force-new-cluster")),
	switches(refusingEtcd("a port has one process", []string{"false"}, "socket-reuse-port")),
	switches(refusingEtcd("the JSON gateway is always there; keep clients from it by users and roles", []string{"true"},
		"enable-grpc-gateway")),
	refusingEtcd("the log is written by Go's slog: text or json (log-format)", []string{"zap"}, "logger"),
	switches(refusingEtcd("have logrotate rename the files of log-outputs and send SIGHUP, at which they are opened "+
		"anew", []string{"false"}, "enable-log-rotation")),
	tracingFlags(""),
	switches(refusingEtcd("`mimir version` tells it", []string{"false"}, "version")),
	[]etcdFlag{
		{name: "cors", keys: []string{"allowed-origins"}, to: (*etcdGiven).cors},
		{name: "feature-gates", to: (*etcdGiven).featureGates},
		{name: etcdFileFlag, to: func(*etcdGiven, *Config, string) error { return nil }, // it was read before
			told: "read: see [A file of etcd's](#a-file-of-etcds)"},
	},

	// Of etcd 3.5 and 3.6.
	[]etcdFlag{{name: "experimental-watch-progress-notify-interval", keys: []string{"watch-progress-interval"},
		to: as("watch-progress-interval")},
		{name: "experimental-warning-unary-request-duration", keys: []string{"warning-unary-request-duration"},
			to: as("warning-unary-request-duration")}},
	switches(ignoring(ownCheck, "experimental-initial-corrupt-check", "experimental-compact-hash-check-enabled")),
	ignoring(allCompared, "experimental-corrupt-check-time", "experimental-compact-hash-check-time"),
	switches(ignoring(ownLease, "experimental-enable-lease-checkpoint",
		"experimental-enable-lease-checkpoint-persist")),
	ignoring(noCompactH, "experimental-compaction-batch-limit", "experimental-compaction-sleep-interval"),
	ignoring("see warning-unary-request-duration", "experimental-warning-apply-duration"),
	ignoring("their number has no bound", "experimental-max-learners"),
	ignoring(boltOnly, "experimental-bootstrap-defrag-threshold-megabytes", "experimental-backend-bbolt-freelist-type"),
	switches(ignoring(boltOnly, "experimental-memory-mlock", "experimental-txn-mode-write-with-shared-buffer",
		"experimental-stop-grpc-service-on-defrag")),
	ignoring(logInBytes, "experimental-snapshot-catchup-entries"),
	ignoring(alwaysOff, "experimental-wait-cluster-ready-timeout", "experimental-downgrade-check-time",
		"proxy-failure-wait", "proxy-refresh-interval", "proxy-dial-timeout", "proxy-write-timeout",
		"proxy-read-timeout"),
	switches(ignoring("the address of who connects is not looked at: see peer-tls.bind",
		"experimental-peer-skip-client-san-verification")),
	tracingFlags("experimental-"),
	switches(refusingEtcd("there is no API of version 2", []string{"false"}, "enable-v2")),
	refusingEtcd("there is no API of version 2", nil, "experimental-enable-v2v3"),
	refusingEtcd("there is no proxy", []string{"off"}, "proxy"),
)

// about says what becomes of the flag, for people.
func (f *etcdFlag) about() string {
	var quoted []string
	for _, word := range append(slices.Clone(f.keys), f.harmless...) {
		quoted = append(quoted, "`"+word+"`")
	}
	words := strings.Join(quoted, ", ")
	switch {
	case f.told != "":
		return f.told
	case f.same:
		return "the same"
	case len(f.keys) > 0:
		return "→ " + words
	case f.to != nil:
		return "taken where it asks for what is so anyway, else refused"
	case f.ignored != "":
		return "means nothing: " + f.ignored
	case len(f.harmless) > 0:
		return "refused, but for " + words + ": " + f.refused
	default:
		return "refused: " + f.refused
	}
}

// written is how the flag is written, for people.
func (f *etcdFlag) written() string {
	if f.fileOnly {
		return "`" + f.name + "`, in a file"
	}
	return "`--" + f.name + "`"
}
