package server

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// flagsOfEtcd are the names of all flags that etcd 3.7.3 takes.
const flagsOfEtcd = `
advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention auto-tls
backend-batch-interval backend-batch-limit backend-bbolt-freelist-type bcrypt-cost bootstrap-defrag-threshold-megabytes
cert-file cipher-suites client-cert-allowed-hostname client-cert-auth client-cert-file client-crl-file client-key-file
cluster-active-size cluster-remove-delay cluster-sync-interval compact-hash-check-time compaction-batch-limit
compaction-sleep-interval config config-file corrupt-check-time cors data-dir discovery discovery-cacert discovery-cert
discovery-dial-timeout discovery-endpoints discovery-fallback discovery-insecure-skip-tls-verify
discovery-insecure-transport discovery-keepalive-time discovery-keepalive-timeout discovery-key discovery-password
discovery-proxy discovery-request-timeout discovery-srv discovery-srv-name discovery-token discovery-user
distributed-tracing-address distributed-tracing-instance-id distributed-tracing-sampling-rate
distributed-tracing-service-name downgrade-check-time election-timeout enable-distributed-tracing enable-grpc-gateway
enable-log-rotation enable-pprof feature-gates force force-new-cluster grpc-keepalive-interval grpc-keepalive-min-time
grpc-keepalive-timeout heartbeat-interval host-whitelist initial-advertise-peer-urls initial-cluster
initial-cluster-state initial-cluster-token initial-election-tick-advance key-file listen-client-http-urls
listen-client-urls listen-metrics-urls listen-peer-urls log-format log-level log-outputs log-rotation-config-json logger
max-concurrent-streams max-learners max-request-bytes max-result-buffer max-retry-attempts max-snapshots max-txn-ops
max-wals memory-mlock metrics name peer-auto-tls peer-cert-allowed-cn peer-cert-allowed-hostname peer-cert-file
peer-client-cert-auth peer-client-cert-file peer-client-key-file peer-crl-file peer-election-timeout
peer-heartbeat-interval peer-key-file peer-skip-client-san-verification peer-trusted-ca-file pre-vote
quota-backend-bytes raft-read-timeout raft-write-timeout retry-interval self-signed-cert-validity snapshot
snapshot-catchup-entries snapshot-count socket-reuse-address socket-reuse-port strict-reconfig-check tls-max-version
tls-min-version trusted-ca-file unsafe-no-fsync v v2-deprecation version vv wal-dir warning-apply-duration
warning-unary-request-duration watch-progress-notify-interval`

// Every flag of etcd is known, and is one of four things; every name is there once, and is no setting's that means
// something else.
func TestEveryFlagOfEtcdIsKnown(t *testing.T) {
	known := map[string]etcdFlag{}
	for _, f := range etcdFlags {
		if _, twice := known[f.name]; twice {
			t.Errorf("%s is there twice", f.name)
		}
		known[f.name] = f
		ways := 0
		for _, is := range []bool{f.same, f.to != nil, f.ignored != "", f.refused != ""} {
			if is {
				ways++
			}
		}
		if ours := slices.ContainsFunc(settings, func(s setting) bool { return s.name() == f.name }); ways != 1 ||
			ours != f.same {
			t.Errorf("%s: %d ways, is a setting %t, and the same %t", f.name, ways, ours, f.same)
		}
	}
	for _, name := range strings.Fields(flagsOfEtcd) {
		if _, ok := known[name]; !ok && name != "config" { // which has been ours from the first, and nothing in etcd
			t.Errorf("%s is not known", name)
		}
	}
}

// kubeadmFlags are what a node of a cluster of Kubernetes is told, by the manifest that is made for it.
func kubeadmFlags(name, client, peer, metrics, dir string, tls func(file string) string) []string {
	return []string{
		"--advertise-client-urls=https://" + client, "--cert-file=" + tls("crt"), "--client-cert-auth=true",
		"--data-dir=" + dir, "--experimental-initial-corrupt-check=true", "--feature-gates=InitialCorruptCheck=true",
		"--experimental-watch-progress-notify-interval=5s", "--initial-advertise-peer-urls=https://" + peer,
		"--initial-cluster=" + name + "=https://" + peer, "--key-file=" + tls("key"),
		"--listen-client-urls=https://127.0.0.1:0,https://" + client, "--listen-metrics-urls=http://" + metrics,
		"--listen-peer-urls=https://" + peer, "--name=" + name, "--peer-cert-file=" + tls("crt"),
		"--peer-client-cert-auth=true", "--peer-key-file=" + tls("key"), "--peer-trusted-ca-file=" + tls("ca"),
		"--snapshot-count=10000", "--trusted-ca-file=" + tls("ca"),
	}
}

// loadFlags loads no file.
func loadFlags(t *testing.T, env map[string]string, arguments ...string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return Load("", func(name string) (string, bool) { v, ok := env[name]; return v, ok }, flags)
}

// A node with the flags of such a manifest has what they say, and a line for each that means nothing.
func TestFlagsOfKubeadm(t *testing.T) {
	c, err := loadFlags(t, nil, kubeadmFlags("cp-1", "10.0.0.1:2379", "10.0.0.1:2380", "127.0.0.1:2381",
		"/var/lib/etcd", func(file string) string { return "/pki/" + file })...)
	if err != nil {
		t.Fatal(err)
	}
	r := &c.Replication
	block := TLS{Cert: "/pki/crt", Key: "/pki/key", CA: "/pki/ca", RequireClientCert: true}
	if r.NodeID != "cp-1" || r.RegionID != defaultRegion || r.DataDir != "/var/lib/etcd" || r.Join ||
		r.Nodes["cp-1"] != "10.0.0.1:2380" || r.PeerAddr != "10.0.0.1:2380" || c.ListenPeer != "10.0.0.1:2380" ||
		c.ListenClient != "https://127.0.0.1:0,https://10.0.0.1:2379" || c.ClientURL() != "https://10.0.0.1:2379" ||
		c.ListenHTTP != "http://127.0.0.1:2381" || c.ClientTLS != block || c.PeerTLS != block ||
		c.Limits.ProgressInterval != 5*time.Second {
		t.Errorf("got %+v", c)
	}
	var noted []string
	for _, note := range c.notes {
		name, _, _ := strings.Cut(note, " means nothing here: ")
		noted = append(noted, name)
	}
	want := []string{"snapshot-count", "feature-gates InitialCorruptCheck", "experimental-initial-corrupt-check"}
	if !slices.Equal(noted, want) {
		t.Errorf("noted %q, want %q", noted, want)
	}
}

// With its feature gate etcd keeps what is left of a lease when its leader changes. Whoever sets it is told that here
// a lease begins anew.
func TestLeaseCheckpointIsToldToBeginAnew(t *testing.T) {
	for _, flag := range []string{"--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true",
		"--experimental-enable-lease-checkpoint", "--experimental-enable-lease-checkpoint-persist"} {
		c, err := loadFlags(t, nil, "--name=n", "--region=r", "--data-dir="+t.TempDir(), flag)
		if err != nil {
			t.Fatalf("%s: %v", flag, err)
		}
		if len(c.notes) == 0 {
			t.Errorf("%s: nothing is noted", flag)
		}
		for _, note := range c.notes {
			if !strings.Contains(note, "begins anew, with its whole time") {
				t.Errorf("%s: noted %q", flag, note)
			}
		}
	}
}

// What etcd's names say, by the key and the value of the setting that it goes to.
func TestNamesOfEtcd(t *testing.T) {
	alone := []string{"--name=a", "--data-dir=d", "--listen-client-urls=http://127.0.0.1:2379"}
	three := "--initial-cluster=a=http://127.0.0.1:2380,b=http://b:2380,c=http://c:2380"
	tls := []string{"--cert-file=c", "--key-file=k"}
	for _, test := range []struct {
		arguments []string
		want      map[string]string
	}{
		{[]string{"--quota-backend-bytes=8589934592"}, map[string]string{"quota-backend-bytes": "8GiB"}},
		{[]string{"--quota-backend-bytes=-1"}, map[string]string{"quota-backend-bytes": "0"}},
		{[]string{"--auth-token-ttl=300"}, map[string]string{"auth-token-ttl": "5m"}},
		{[]string{"--log-level=fatal", "--log-format=console"},
			map[string]string{"log-level": "error", "log-format": "text"}},
		{[]string{"--max-concurrent-streams=4294967295"}, map[string]string{"max-concurrent-streams": "2147483647"}},
		{[]string{"--auto-compaction-mode=revision", "--auto-compaction-retention=1000"},
			map[string]string{"auto-compaction-mode": "revision", "auto-compaction-retention": "1000"}},
		{[]string{"--heartbeat-interval=50", "--election-timeout=1010"},
			map[string]string{"tick-interval": "50ms", "election-ticks": "21"}},
		{[]string{"--initial-cluster-token=tkn"}, map[string]string{"fleet": "tkn"}},
		{[]string{three}, map[string]string{"nodes": "a=127.0.0.1:2380,b=b:2380,c=c:2380", "join": "false"}},
		{[]string{three, "--initial-cluster-state=existing"}, map[string]string{"join": "true"}},
		{[]string{three, "--initial-cluster-state=existing", "--region=us"}, map[string]string{"region": "us"}},
		{append(tls, "--trusted-ca-file=a"), map[string]string{"client-tls.require-client-cert": "true"}},
		{append(tls, "--trusted-ca-file=a", "--client-cert-auth=false"),
			map[string]string{"client-tls.require-client-cert": "true"}},
		{append(tls, "--listen-metrics-urls=https://127.0.0.1:1"),
			map[string]string{"http-tls.cert": "c", "listen-http": "https://127.0.0.1:1"}},
		{[]string{"--listen-client-http-urls=http://127.0.0.1:1"},
			map[string]string{"listen-client": "http://127.0.0.1:2379,http://127.0.0.1:1"}},
		{[]string{"--listen-client-urls=unix:///run/m,http://[::1]:2379/"},
			map[string]string{"listen-client": "unix:///run/m,http://[::1]:2379",
				"advertise-client": "http://[::1]:2379"}},
		{[]string{"--tls-min-version=TLS1.3", "--discovery=", "--auto-tls=false", "--logger=zap", "--cors=*",
			"--log-outputs=stderr", "--pre-vote", "--grpc-keepalive-min-time=10s"},
			map[string]string{"region": defaultRegion, "allowed-origins": ""}},
		{[]string{"--cipher-suites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305," +
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}, map[string]string{"tls-cipher-suites": "TLS_ECDHE_RSA_WITH_" +
			"CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}},
		{append(tls, "--trusted-ca-file=a", "--client-cert-allowed-hostname=x,y"),
			map[string]string{"client-tls.allowed-hostname": "x,y", "http-tls.allowed-hostname": ""}},
		{append(tls, "--trusted-ca-file=a", "--client-cert-allowed-hostname=x",
			"--listen-metrics-urls=https://127.0.0.1:1"),
			map[string]string{"client-tls.allowed-hostname": "x", "http-tls.allowed-hostname": "x"}},
		{[]string{"--listen-peer-urls=https://127.0.0.1:2", "--peer-cert-file=c", "--peer-key-file=k",
			"--peer-client-cert-file=cc", "--peer-client-key-file=ck"},
			map[string]string{"peer-tls.cert": "c", "peer-tls.client-cert": "cc", "peer-tls.client-key": "ck"}},
		{[]string{"--host-whitelist=a,b", "--tls-max-version=TLS1.2", "--log-outputs=stderr,/var/log/etcd"},
			map[string]string{"allowed-hosts": "a,b", "tls-max-version": "TLS1.2",
				"log-outputs": "stderr,/var/log/etcd"}},
		{[]string{"--host-whitelist=*", "--log-outputs=default", "--client-cert-file=x", "--tls-max-version="},
			map[string]string{"allowed-hosts": "*", "tls-max-version": ""}},
		{[]string{"--grpc-keepalive-interval=2h", "--grpc-keepalive-timeout=20s"},
			map[string]string{"grpc-keepalive-interval": "2h", "grpc-keepalive-min-time": "5s"}},
		{[]string{"--enable-distributed-tracing"}, map[string]string{"tracing.endpoint": "localhost:4317",
			"tracing.samples-per-million": "0", "tracing.follow-clients": "true"}},
		{[]string{"--experimental-enable-distributed-tracing=true", "--experimental-distributed-tracing-address=c:1",
			"--experimental-distributed-tracing-sampling-rate=7", "--experimental-distributed-tracing-service-name=s",
			"--experimental-distributed-tracing-instance-id=i", "--tracing-follow-clients=false"},
			map[string]string{"tracing.endpoint": "c:1", "tracing.samples-per-million": "7",
				"tracing.service-name": "s", "tracing.instance-id": "i", "tracing.follow-clients": "false"}},
		{[]string{"--distributed-tracing-address=c:1", "--enable-distributed-tracing=false"},
			map[string]string{"tracing.endpoint": "", "tracing.follow-clients": "false"}},
		{[]string{"--cors=https://a.example,http://b:80"},
			map[string]string{"allowed-origins": "https://a.example,http://b:80"}},
	} {
		c, err := loadFlags(t, nil, append(slices.Clone(alone), test.arguments...)...)
		if err != nil {
			t.Errorf("%q: %v", test.arguments, err)
			continue
		}
		for key, want := range test.want {
			if got := settingOf(key).get(c); got != want {
				t.Errorf("%q: %s is %q, want %q", test.arguments, key, got, want)
			}
		}
	}
}

// What cannot be meant here is refused with what to do, in one line.
func TestNamesOfEtcdAreRefused(t *testing.T) {
	alone := []string{"--name=a", "--data-dir=d", "--listen-client-urls=http://127.0.0.1:2379"}
	for argument, want := range map[string]string{
		"--cors=a.example":                            `allowed-origins "a.example": want what a browser says`,
		"--cipher-suites=TLS_AES_128_GCM_SHA256":      "set tls-min-version to 1.3",
		"--discovery=https://d/x":                     `--discovery: "https://d/x": no such thing here: nodes`,
		"--auto-tls":                                  "see docs/certificates.md",
		"--force-new-cluster":                         "docs/failover.md",
		"--peer-crl-file=x":                           "peer-tls: crl needs ca",
		"--log-outputs=default,/var/log/etcd":         "log-outputs: default stands alone",
		"--enable-log-rotation":                       "SIGHUP",
		"--peer-auto-tls":                             "`mimir cert`",
		"--client-cert-allowed-hostname=a":            "client-tls: allowed-cn and allowed-hostname need ca",
		"--peer-client-cert-file=x":                   "client-cert \"x\" and client-key \"\" belong together",
		"--host-whitelist=a:1":                        `allowed-hosts "a:1": want a name or an IP address`,
		"--tls-max-version=TLS1.1":                    `tls-max-version "TLS1.1": use 1.2 or 1.3`,
		"--grpc-keepalive-min-time=0s":                "out of bounds: 10ms to 24h",
		"--feature-gates=Teleport=true":               `"Teleport": no such feature of etcd 3.7`,
		"--feature-gates=CompactHashCheck=x":          "want name=true or name=false",
		"--listen-client=127.0.0.1:1":                 "--listen-client-urls and --listen-client say the same",
		"--listen-peer-urls=https://127.0.0.1:1":      "listen-peer-urls says https, and peer-cert-file is \"\"",
		"--listen-peer-urls=http://a:1,https://b:1":   "http and https do not go together",
		"--initial-advertise-peer-urls=http://a:1,b":  `"http://a:1,b": want host:port`,
		"--initial-cluster=a=http://a:1,a=http://b:1": "its second",
		"--initial-cluster=a":                         `"a": want name=URL`,
		"--heartbeat-interval=fast":                   `"fast" is not a number of milliseconds`,
		"--listen-client-urls=https://127.0.0.1:1":    "https wants TLS, and client-tls is not set",
		"--enable-distributed-tracing=maybe":          "maybe",
		"--tracing-endpoint=http://c:1":               `tracing.endpoint "http://c:1": want host:port`,
		"--tracing-ca=x":                              "tracing.ca, tracing.cert and tracing.key need tracing.tls",
		"--tracing-protocol=zipkin":                   `tracing.protocol "zipkin": use grpc or http`,
	} {
		_, err := loadFlags(t, nil, append(slices.Clone(alone), argument)...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", argument, err)
		}
	}
}

// Etcd's variables are read where there is no file of Mimir's, and count for less than what is said to Mimir itself:
// what another program left in the environment changes no node that has one.
func TestVariablesOfEtcd(t *testing.T) {
	env := map[string]string{"ETCD_NAME": "e", "ETCD_DATA_DIR": "d", "ETCD_LISTEN_CLIENT_URLS": "http://127.0.0.1:1",
		"ETCD_INITIAL_CLUSTER": "e=http://127.0.0.1:2380,f=http://f:1,g=http://g:1", "ETCD_LOG_LEVEL": "debug",
		"ETCD_SNAPSHOT_COUNT": "1"}
	c, err := loadFlags(t, env)
	if err != nil {
		t.Fatal(err)
	}
	if r := &c.Replication; r.NodeID != "e" || r.RegionID != defaultRegion || c.ClientURL() != "http://127.0.0.1:1" ||
		c.LogLevel != "debug" || len(r.Nodes) != 3 {
		t.Errorf("got %+v", c)
	}
	if text := strings.Join(c.notes, "\n"); !strings.Contains(text, "ETCD_LOG_LEVEL is a setting of this node") ||
		!strings.Contains(text, "snapshot-count means nothing here") {
		t.Errorf("noted %q", text)
	}
	env["ETCD_VERSION"] = "v3.5.9" // of an image
	if _, err := loadFlags(t, env); err != nil {
		t.Error(err)
	}
	env["ETCD_LISTEN_PEER_URLS"], env["ETCD_CERT_FILE"] = "https://127.0.0.1:3", "c.pem"
	env["ETCD_TRUSTED_CA_FILE"], env["ETCD_CONFIG_FILE"] = "ca.pem", "etcd.yaml"
	c, err = loadText(t, strings.Replace(goodFile, "client-tls: {cert: c.pem, key: k.pem}", "", 1)+
		"initial-cluster-state: existing\nlisten-peer: 127.0.0.1:7\nlisten-client: 127.0.0.1:8\n", env)
	if err != nil {
		t.Fatal(err)
	}
	if r := &c.Replication; r.NodeID != "us-1" || r.Join || c.ClientURL() != "http://127.0.0.1:8" ||
		r.Nodes["us-1"] != "us-1.example:2380" || c.LogLevel == "debug" || len(c.notes) > 0 {
		t.Errorf("got %+v", c)
	}
	clear(env)
	env["ETCD_DISCOVERY"] = "x"
	if _, err := loadFlags(t, env); err == nil || !strings.Contains(err.Error(), `ETCD_DISCOVERY: "x": no such thing`) {
		t.Errorf("got %v", err)
	}
}

const etcdPage = "../docs/etcd-settings.md"

// TestNamesOfEtcdAreDocumented holds the page against the table of flags.
func TestNamesOfEtcdAreDocumented(t *testing.T) {
	text, err := os.ReadFile(etcdPage)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| flag of etcd | here |\n|---|---|\n"
	above, _, found := strings.Cut(string(text), head)
	if !found {
		t.Fatalf("%s has no table %q", etcdPage, head)
	}
	var b strings.Builder
	b.WriteString(above + head)
	for _, f := range slices.SortedFunc(slices.Values(etcdFlags), func(a, b etcdFlag) int {
		return strings.Compare(a.name, b.name)
	}) {
		fmt.Fprintf(&b, "| %s | %s |\n", f.written(), f.about())
	}
	if want := b.String(); want != string(text) && !*update {
		t.Errorf("%s is not what the table of flags says (-update writes it)", etcdPage)
	} else if *update {
		if err := os.WriteFile(etcdPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
