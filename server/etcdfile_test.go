package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// keysOfEtcdsFile are those that etcd 3.7.3 reads in its file of settings, blocks apart.
const keysOfEtcdsFile = `
advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention backend-batch-interval
backend-batch-limit backend-bbolt-freelist-type bcrypt-cost bootstrap-defrag-threshold-megabytes cipher-suites
compact-hash-check-time compaction-batch-limit compaction-sleep-interval corrupt-check-time cors data-dir discovery-srv
discovery-srv-name distributed-tracing-address distributed-tracing-instance-id distributed-tracing-sampling-rate
distributed-tracing-service-name downgrade-check-time election-timeout enable-distributed-tracing enable-grpc-gateway
enable-log-rotation enable-pprof feature-gates force-new-cluster grpc-keepalive-interval grpc-keepalive-min-time
grpc-keepalive-timeout heartbeat-interval host-whitelist initial-advertise-peer-urls initial-cluster
initial-cluster-state initial-cluster-token initial-election-tick-advance listen-client-http-urls listen-client-urls
listen-metrics-urls listen-peer-urls log-format log-level log-outputs log-rotation-config-json logger
max-concurrent-streams max-learners max-request-bytes max-snapshots max-txn-ops max-wals memory-mlock metrics name
pre-vote quota-backend-bytes self-signed-cert-validity snapshot-catchup-entries snapshot-count strict-reconfig-check
tls-max-version tls-min-version unsafe-no-fsync v2-deprecation wal-dir warning-apply-duration
warning-unary-request-duration watch-progress-notify-interval`

// fileOfEtcd is what a distribution writes for etcd, with the blocks of its certificates.
const fileOfEtcd = `
# of etcd
name: 'cp-1'
data-dir: /var/lib/mimir
wal-dir:
snapshot-count: 10000
heartbeat-interval: 50
election-timeout: 1000
quota-backend-bytes: 8589934592
listen-peer-urls: https://10.0.0.1:2380
listen-client-urls: https://127.0.0.1:0,https://10.0.0.1:2379
listen-client-http-urls: https://127.0.0.1:2382
listen-metrics-urls: http://127.0.0.1:2381
initial-advertise-peer-urls: https://10.0.0.1:2380
advertise-client-urls: https://10.0.0.1:2379
initial-cluster: 'cp-1=https://10.0.0.1:2380,cp-2=https://10.0.0.2:2380,cp-3=https://10.0.0.3:2380'
initial-cluster-token: 'production'
initial-cluster-state: 'existing'
strict-reconfig-check: false
discovery:
discovery-fallback: 'proxy'
proxy: 'off'
client-transport-security:
  cert-file: /pki/crt
  key-file: /pki/key
  client-cert-auth: true
  trusted-ca-file: /pki/ca
  auto-tls: false
  allowed-cn: [apiserver, backup]
  allowed-hostname: [cp-1]
peer-transport-security: {cert-file: /pki/crt, key-file: /pki/key, trusted-ca-file: /pki/ca, allowed-cn: [a, b]}
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
auto-compaction-mode: periodic
auto-compaction-retention: "1"
cipher-suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
tls-min-version: 'TLS1.2'
watch-progress-notify-interval: 5000000000
warning-unary-request-duration: 400ms
log-package-levels: raft=DEBUG
enable-pprof: yes
`

func etcdsFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "etcd.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A node that is given etcd's file has what stands there, as if flags said it; numbers are durations in nanoseconds, as
// etcd reads them there.
func TestFileOfEtcd(t *testing.T) {
	file := etcdsFile(t, fileOfEtcd)
	c, err := loadFlags(t, nil, "--config-file="+file)
	if err != nil {
		t.Fatal(err)
	}
	r := &c.Replication
	block := TLS{Cert: "/pki/crt", Key: "/pki/key", CA: "/pki/ca", RequireClientCert: true}
	if r.NodeID != "cp-1" || r.RegionID != defaultRegion || !r.Join || len(r.Nodes) != 3 || c.ClientTLS != block ||
		c.PeerTLS != block || !slices.Equal(c.PeerRule.AllowedCN, []string{"a", "b"}) ||
		!slices.Equal(c.ClientRule.AllowedCN, []string{"apiserver", "backup"}) ||
		!slices.Equal(c.ClientRule.AllowedHostnames, []string{"cp-1"}) {
		t.Errorf("got %+v", c)
	}
	for key, want := range map[string]string{
		"data-dir": "/var/lib/mimir", "tick-interval": "50ms", "election-ticks": "20", "quota-backend-bytes": "8GiB",
		"listen-client": "https://127.0.0.1:0,https://10.0.0.1:2379,https://127.0.0.1:2382", "fleet": "production",
		"listen-http": "http://127.0.0.1:2381", "log-level": "debug", "auto-compaction-retention": "1",
		"pprof": "true", "watch-progress-interval": "5s", "warning-unary-request-duration": "400ms",
	} {
		if got := settingOf(key).get(c); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if c.origins["data-dir"] != file || c.origins["client-tls.ca"] != file || c.origins["region"] != "" {
		t.Errorf("from %v", c.origins)
	}
	notes := strings.Join(c.notes, "\n")
	for _, want := range []string{"snapshot-count means nothing here", "log-package-levels means nothing here"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %s", want, notes)
		}
	}
}

// Keys may have capitals, as for etcd; of several that say the same the last one counts, in the order of their bytes.
func TestFileOfEtcdWithCapitals(t *testing.T) {
	c, err := loadFlags(t, nil, "--config-file="+etcdsFile(t, `
Name: b
name: a
Data-Dir: d
listen-client-urls: https://127.0.0.1:2379
Client-Transport-Security: {Cert-File: /pki/crt, key-file: /pki/key, Client-Cert-Auth: true, Trusted-CA-File: /pki/ca}
`))
	if err != nil {
		t.Fatal(err)
	}
	block := TLS{Cert: "/pki/crt", Key: "/pki/key", CA: "/pki/ca", RequireClientCert: true}
	if r := &c.Replication; r.NodeID != "a" || r.DataDir != "d" || c.ClientTLS != block || len(c.notes) > 0 {
		t.Errorf("got %+v, noted %q", c, c.notes)
	}
}

// Whatever is said to Mimir itself counts for more than etcd's file; variables and flags of etcd's beside it do not
// count, as with etcd.
func TestFileOfEtcdAlone(t *testing.T) {
	file := etcdsFile(t, "name: a\ndata-dir: d\nlisten-client-urls: http://127.0.0.1:1\nlog-level: debug\n")
	env := map[string]string{"ETCD_CONFIG_FILE": file, "ETCD_NAME": "b", "ETCD_QUOTA_BACKEND_BYTES": "1",
		"MIMIR_REQUEST_TIMEOUT": "9s", "MIMIR_LOG_LEVEL": "warn"}
	c, err := loadFlags(t, env, "--data-dir=e", "--listen-peer-urls=http://127.0.0.1:9", "--auto-tls")
	if err != nil {
		t.Fatal(err)
	}
	if r := &c.Replication; r.NodeID != "a" || r.DataDir != "e" || c.QuotaBytes != 0 || c.LogLevel != "warn" ||
		c.Limits.RequestTimeout != 9*time.Second || c.ListenPeer == "127.0.0.1:9" ||
		c.ClientURL() != "http://127.0.0.1:1" {
		t.Errorf("got %+v", c)
	}
	if notes := strings.Join(c.notes, "\n"); !strings.Contains(notes, "--listen-peer-urls means nothing here: ") ||
		!strings.Contains(notes, "ETCD_NAME means nothing here: ") {
		t.Errorf("noted %s", notes)
	}
}

// What cannot be meant is refused with the place in the file, in one line; also what etcd passes over without a word
// where it would have meant safety.
func TestFileOfEtcdIsRefused(t *testing.T) {
	alone := "name: a\ndata-dir: d\nlisten-client-urls: http://127.0.0.1:2379\n"
	for text, want := range map[string]string{
		"discovery: https://d/x":                       `FILE:4: discovery: "https://d/x": no such thing here: nodes`,
		"client-transport-security:\n  auto-tls: true": "FILE:5: client-transport-security.auto-tls: ",
		"client-transport-security: {allowed-cn: [a]}": "client-tls: allowed-cn and allowed-hostname need ca",
		"client-transport-security.allowed-cn: a":      "FILE:4: client-transport-security.allowed-cn: etcd reads",
		"client-transport-security: on":                "FILE:4: client-transport-security: want a block",
		"client-transport-security: {ca-file: x}":      `FILE:4: client-transport-security has no key "ca-file"`,
		"trusted-ca-file: x":                           "FILE:4: trusted-ca-file: etcd reads it in client-",
		"peer-cert-file: x":                            "FILE:4: peer-cert-file: etcd reads it in peer-",
		"Peer-Cert-File: x":                            "FILE:4: peer-cert-file: etcd reads it in peer-",
		"heartbeat-interval: fast":                     `FILE:4: heartbeat-interval: "fast" is not a number of`,
		"heartbeat-interval: {a: 1}":                   "FILE:4: heartbeat-interval: want a value, or a list",
		"grpc-keepalive-min-time: soon":                "FILE:4: grpc-keepalive-min-time: ",
		"discovery-config: {token: x}":                 "FILE:4: discovery-config: ",
		"socket-options: {reuse-port: true}":           "FILE:4: socket-options.reuse-port: ",
		"listen-peer-urls: 'https://127.0.0.1:1'":      "listen-peer-urls says https, and peer-cert-file is \"\"",
		"name: b": "FILE:",
		"\t":      "FILE:",
		"name":    "FILE:",
		"peer-transport-security: {client-cert-file: x}": "client-cert \"x\" and client-key \"\" belong together",
	} {
		file := etcdsFile(t, alone+text+"\n")
		_, err := loadFlags(t, nil, "--config-file="+file)
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "FILE", file)) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := loadFlags(t, nil, "--config-file=/none"); err == nil || !strings.Contains(err.Error(), "/none") {
		t.Errorf("got %v", err)
	}
	if _, err := loadText(t, goodFile, nil, "--config-file=x"); err == nil ||
		!strings.Contains(err.Error(), "--config and --config-file both name") {
		t.Errorf("got %v", err)
	}
	if _, err := loadText(t, goodFile+"listen-client-urls: x\n", nil); err == nil ||
		!strings.Contains(err.Error(), "a file of etcd's is named by --config-file") {
		t.Errorf("got %v", err)
	}
}

// Every key of etcd's file is a flag that is known, and so are those of its blocks.
func TestEveryKeyOfEtcdsFileIsKnown(t *testing.T) {
	var text strings.Builder
	for _, key := range strings.Fields(keysOfEtcdsFile) {
		fmt.Fprintf(&text, "%s: ''\n", key)
	}
	said, wrong := etcdKeys("x", []byte(text.String()), func(key string) { t.Errorf("%s is not known", key) })
	if len(wrong) > 0 || len(said) > 0 { // what is empty is not said
		t.Errorf("said %v, wrong %v", said, wrong)
	}
	for block, keys := range etcdBlocks {
		for key, name := range keys {
			if etcdFlagOf(name) == nil {
				t.Errorf("%s.%s is %s, which is no flag", block, key, name)
			}
		}
	}
}
