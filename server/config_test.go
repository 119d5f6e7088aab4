package server

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const goodFile = `
name: us-1
region: us
data-dir: /tmp/us-1
advertise-peer: us-1.example:2380
nodes: {us-1: "us-1.example:2380", us-2: "us-2.example:2380", us-3: "us-3.example:2380"}
regions: {eu: ["eu-1.example:2380"]}
initial-primary: us
tick-interval: 50ms
retain-bytes: 2GiB
client-tls: {cert: c.pem, key: k.pem}
`

func loadText(t *testing.T, text string, env map[string]string, arguments ...string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, flags)
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line: %q", err)
	}
	return c, err
}

func TestLoad(t *testing.T) {
	c, err := loadText(t, goodFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &c.Replication
	if r.NodeID != "us-1" || r.TickInterval != 50*time.Millisecond || r.RetainBytes != 2<<30 ||
		c.ClientTLS.Key != "k.pem" {
		t.Errorf("file not read: %+v", c)
	}
	if r.FleetID != "mimir" || c.Limits.TxnOps != 128 || c.ClientURL() != "https://127.0.0.1:2379" {
		t.Errorf("defaults not filled: %+v", c)
	}
}

func TestLoadPrecedence(t *testing.T) {
	env := map[string]string{"MIMIR_LOG_LEVEL": "warn", "MIMIR_MAX_TXN_OPS": "99", "MIMIR_CLIENT_TLS_CERT": "env.pem"}
	c, err := loadText(t, goodFile, env, "--max-txn-ops=7", "--regions=eu=a:1,eu=b:2,ap=c:3")
	if err != nil {
		t.Fatal(err)
	}
	if c.LogLevel != "warn" || c.Limits.TxnOps != 7 || c.ClientTLS.Cert != "env.pem" {
		t.Errorf("got %q, %d, %q", c.LogLevel, c.Limits.TxnOps, c.ClientTLS.Cert)
	}
	if want := map[string][]string{
		"eu": {"a:1", "b:2"}, "ap": {"c:3"},
	}; !reflect.DeepEqual(c.Replication.Regions, want) {
		t.Errorf("got regions %v", c.Replication.Regions)
	}
}

// Blocks can be named once and used again, as YAML has it.
func TestLoadAnchors(t *testing.T) {
	c, err := loadText(t, strings.Replace(goodFile, "client-tls: {", "client-tls: &tls {", 1)+
		"peer-tls: {<<: *tls, ca: ca.pem}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (TLS{Cert: "c.pem", Key: "k.pem", CA: "ca.pem", RequireClientCert: true}); c.PeerTLS != want {
		t.Errorf("got %+v", c.PeerTLS)
	}
}

func TestLoadAlone(t *testing.T) {
	c, err := loadText(t, "{name: solo, region: here, data-dir: d}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Replication.Nodes["solo"] != "127.0.0.1:2380" || c.Replication.InitialPrimary != "here" {
		t.Errorf("one node alone is not complete: %+v", c)
	}
}

// Each refusal must be one line that names the key and the refused value, or the file and line.
func TestLoadRefuses(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(goodFile, old, new, 1) }
	for _, test := range []struct {
		name, file string
		env        map[string]string
		want       string
	}{
		{"unknown key", goodFile + "nmae: x\n", nil, `config.yaml:12: unknown key "nmae" (did you mean "name"?)`},
		{"unknown nested key", replace("key: k.pem", "kee: k.pem"), nil,
			`config.yaml:11: unknown key "kee" (did you mean "key"?)`},
		{"more than the log takes", goodFile + "max-request-bytes: 32MiB\n", nil,
			"max-request-bytes 32MiB is out of bounds: 1KiB to 16MiB, which max-command-bytes cannot exceed"},
		{"more than the log may take", goodFile + "max-request-bytes: 8MiB\nmax-command-bytes: 4MiB\n", nil,
			"max-request-bytes 8MiB is above max-command-bytes, which is 4MiB"},
		{"more than one request may do", goodFile + "max-request-bytes: 8MiB\nmax-effect-bytes: 4MiB\n", nil,
			"max-request-bytes 8MiB is above max-effect-bytes, which is 4MiB"},
		{"more than may be answered", goodFile + "max-request-bytes: 8MiB\nmax-answer-bytes: 4MiB\n", nil,
			"max-request-bytes 8MiB is above max-answer-bytes, which is 4MiB"},
		{"a frame above the window", goodFile + "max-frame-bytes: 2MiB\nmax-inflight-bytes: 1MiB\n", nil,
			"max-frame-bytes 2MiB is above max-inflight-bytes, which is 1MiB"},
		{"less behind a copy than without one", goodFile + "copy-retain-bytes: 1GiB\n", nil,
			"copy-retain-bytes 1GiB is less than retain-bytes, which is 2GiB; 0 lets it follow"},
		{"no request fits", goodFile + "max-request-bytes: 1\n", nil,
			"max-request-bytes 1 is out of bounds: 1KiB to 16MiB"},
		{"a reserve of nothing", goodFile + "disk-reserve-bytes: 1\n", nil,
			"disk-reserve-bytes 1 is out of bounds: 0, or at least 16MiB"},
		{"no request ends in time", goodFile + "request-timeout: 1ms\n", nil,
			"request-timeout 1ms is out of bounds: 100ms to 24h"},
		{"no stop in good order", goodFile + "shutdown-timeout: 0s\n", nil,
			"shutdown-timeout 0s is out of bounds: 2s to 24h"},
		{"a duration below zero", goodFile + "leader-timeout: -1s\n", nil,
			"leader-timeout -1s is out of bounds: 1ms to 1h"},
		{"elections all the time", goodFile + "election-ticks: 3\n" + "# ", map[string]string{
			"MIMIR_TICK_INTERVAL": "1ms"},
			"tick-interval 1ms times election-ticks 3 is 3ms; it has to be 20ms to 1m"},
		{"an election that takes an hour", goodFile + "election-ticks: 1000\n", map[string]string{
			"MIMIR_TICK_INTERVAL": "10s"}, "tick-interval 10s times election-ticks 1000 is 2h46m40s"},
		{"less than the log's own entries need", goodFile + "max-request-bytes: 1KiB\nmax-command-bytes: 1\n", nil,
			"max-command-bytes 1 is out of bounds: 1KiB to 16MiB"},
		{"wrong type", replace("tick-interval: 50ms", "max-txn-ops: many"), nil, "config.yaml:9:"},
		{"wrong size", replace("2GiB", "2 apples"), nil, `"2 apples" is not a size`},
		{"broken YAML", "name: [", nil, "config.yaml"},
		{"no name", replace("name: us-1", ""), nil, "name is missing"},
		{"bad name", replace("name: us-1", "name: us/1"), nil, `name "us/1"`},
		{"no data directory", replace("data-dir: /tmp/us-1", ""), nil, "data-dir is missing"},
		{"bad address", goodFile + "listen-client: here\n", nil, `listen-client "here": want host:port`},
		{"bad port", goodFile + "listen-client: here:99999\n", nil, `port "99999"`},
		{"nobody can dial", goodFile + "listen-client: 0.0.0.0:2379\n", nil,
			`advertise-client "0.0.0.0:2379": others cannot dial it`},
		{"same port twice", goodFile + "listen-http: 127.0.0.1:2380\n", nil,
			`listen-peer and listen-http are both "127.0.0.1:2380"`},
		{"no brackets", goodFile + "listen-client: ::1:2379\n", nil,
			`listen-client "::1:2379": want host:port, with an IPv6 address in brackets: [::1]:2379`},
		{"a port of all, and of one", goodFile + "listen-client: [127.0.0.1:1, \"0.0.0.0:1\"]\n", nil,
			`listen-client "127.0.0.1:1" and listen-client "0.0.0.0:1" are the same port`},
		{"TLS without its files", goodFile + "listen-http: unixs:///run/http\n", nil,
			`listen-http "unixs:///run/http": unixs wants TLS, and http-tls is not set`},
		{"a socket for nodes", goodFile + "listen-peer: unix:///run/peer\n", nil,
			`listen-peer "unix:///run/peer": want host:port alone`},
		{"not in nodes", replace("us-1: \"us-1.example:2380\", ", ""), nil, `nodes does not list this node, "us-1"`},
		{"other address in nodes", replace("advertise-peer: us-1.example", "advertise-peer: other.example"), nil,
			`but advertise-peer is "other.example:2380"`},
		{"two voters", replace(`, us-3: "us-3.example:2380"`, ""), nil, "1, 3, 5 or 7 voters, Nodes has 2"},
		{"own region", replace("{eu:", "{us:"), nil, `regions lists "us"`},
		{"empty region", replace(`["eu-1.example:2380"]`, "[]"), nil, "eu has no address"},
		{"no primary", replace("initial-primary: us", ""), nil, "initial-primary is missing"},
		{"unknown state of the fleet", replace("initial-primary: us",
			"initial-primary: us\ninitial-cluster-state: old"), nil, `initial-cluster-state "old": use new`},
		{"unknown primary", replace("initial-primary: us", "initial-primary: mars"), nil, `initial-primary "mars"`},
		{"cert without key", replace(", key: k.pem", ""), nil, `cert "c.pem" and key ""`},
		{"mutual without CA", replace("key: k.pem", "key: k.pem, require-client-cert: true"), nil,
			"require-client-cert needs ca"},
		{"region without peer TLS", goodFile + "region-tls: {ca: x}\n", nil, "region-tls needs peer-tls"},
		{"a second document", goodFile + "---\nbackup: {to: \"file:///backups\"}\n", nil,
			"config.yaml:13: a second document begins here, which would not be read"},
		{"an empty document before it", "---\n---\n" + goodFile, nil, "config.yaml:"},
		{"key twice", goodFile + "name: x\n", nil, `config.yaml:12: mapping key "name" already defined at line 2`},
		{"more than the library takes", goodFile + "max-request-bytes: 32MiB\n", nil,
			"max-request-bytes 32MiB is out of bounds: 1KiB to 16MiB"},
		{"more than the log takes", goodFile + "max-command-bytes: 1MiB\n", nil,
			"max-request-bytes 1536KiB is above max-command-bytes, which is 1MiB"},
		{"segment that the log refuses", goodFile + "segment-bytes: 4GiB\n", nil,
			"segment-bytes 4GiB is out of bounds: 1MiB to 1GiB"},
		{"segment above what is kept", replace("2GiB", "32MiB"), nil,
			"segment-bytes 64MiB is above retain-bytes, which is 32MiB"},
		{"batch above what may be under way", goodFile + "max-inflight-bytes: 512KiB\n", nil,
			"max-frame-bytes 1MiB is above max-inflight-bytes, which is 512KiB"},
		{"more than a field counts", goodFile + "peer-window-bytes: 8GiB\n", nil,
			`config.yaml:12: "8GiB" is more than`},
		{"ticks", goodFile + "election-ticks: 1\n", nil, "election-ticks 1 is out of bounds: 3 to 1000"},
		{"tick", replace("50ms", "50us"), nil, "tick-interval 50µs is out of bounds: 1ms to 10s"},
		{"crowds", goodFile + "crowds: [10.0.0.0/8, office]\n", nil, `crowds: "office" is no network`},
		{"log level", goodFile + "log-level: loud\n", nil, `log-level "loud"`},
		{"environment", goodFile, map[string]string{"MIMIR_TICK_INTERVAL": "soon"},
			`MIMIR_TICK_INTERVAL: "soon" is not a duration`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadText(t, test.file, test.env)
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), os.LookupEnv, nil); !errors.Is(err, ErrConfig) {
		t.Errorf("missing file: %v", err)
	}
}

// Whatever the file holds, it is either taken and sound, or refused with one line.
func FuzzConfigFile(f *testing.F) {
	f.Add(goodFile)
	f.Add("{name: a, region: b, data-dir: c}")
	f.Add("name: &a [*a]\n")
	f.Add("client-tls: &a {cert: x, <<: *a}\npeer-tls: {<<: *a, key: y}\n? 1\n")
	f.Add("cache-bytes: 1KiB\nnodes: {a: b}\n? x")
	f.Fuzz(func(t *testing.T, text string) {
		c := DefaultConfig()
		err := decode("config.yaml", []byte(text), &c)
		if err == nil {
			c.complete()
			err = c.Validate()
		}
		if err != nil && (!errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q", err)
		}
	})
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1536": 1536, "1536KiB": 1536 << 10, "8 GiB": 8 << 30, "7B": 7} {
		var b, again Bytes
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("%q: got %d, %v", text, b, err)
		}
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%q does not survive String: %q", text, b.String())
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "9223372036854775807TiB"} {
		var b Bytes
		if b.Set(text) == nil {
			t.Errorf("%q was taken as %d", text, b)
		}
	}
}
