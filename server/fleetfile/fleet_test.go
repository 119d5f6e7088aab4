package fleetfile

import (
	"strings"
	"testing"
)

const six = `
fleet: production
initial-primary: us
tls: {dir: /etc/mimir/tls}
ports: {http: 2381}
settings:
  log-format: json
  failover: {lease: 5s}
regions:
  us:
    settings: {priority: 200}
    nodes:
      us-1: 10.1.0.1
      us-2: 10.1.0.2
      us-3: {host: 10.1.0.3, client: "10.1.0.3:3379", data-dir: "/data/{name}", settings: {log-format: text}}
  eu:
    nodes: {eu-1: 10.2.0.1, eu-2: 10.2.0.2, eu-3: 10.2.0.3}
witnesses:
  w1: 10.3.0.1:2380
`

func TestOneFileMakesAll(t *testing.T) {
	f, err := Parse([]byte(six))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range f.Members() {
		names = append(names, m.Region+"/"+m.Name)
	}
	if got := strings.Join(names, " "); got != "eu/eu-1 eu/eu-2 eu/eu-3 us/us-1 us/us-2 us/us-3 witness/w1" {
		t.Fatalf("members %s", got)
	}
	m, _ := f.Member("us-3")
	name, text, err := f.File(m)
	if err != nil || name != NodeFile {
		t.Fatalf("%s, %v", name, err)
	}
	for _, want := range []string{
		Mark, "name: us-3\n", "listen-client: 10.1.0.3:3379\n", "listen-peer: 10.1.0.3:2380\n",
		"data-dir: /data/us-3\n",
		"listen-http: 10.1.0.3:2381\n", "us-1: 10.1.0.1:2380\n", "- 10.2.0.2:2380\n", "initial-primary: us\n",
		"priority: 200\n", "log-format: text\n", "lease: 5s\n", "automatic: true\n", "bind: node\n",
		"cert: /etc/mimir/tls/server.crt\n", "- operator\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	w, _ := f.Member("w1")
	name, text, err = f.File(w)
	if err != nil || name != WitnessFile || !strings.Contains(string(text), "--listen 10.3.0.1:2380 \\\n") ||
		!strings.Contains(string(text), "--peer-tls-bind node") ||
		!strings.Contains(string(text), "--fleet production") {
		t.Errorf("%s, %v\n%s", name, err, text)
	}
}

func TestWhatContradictsItselfIsRefused(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"regions: {}", "no regions"},
		{"regions: {us: {nodes: {a: h1, b: h2}}}", "2 nodes"},
		{"regions: {us: {nodes: {a: h1}}, eu: {nodes: {b: h2}}}", "initial-primary is missing"},
		{"initial-primary: asia\nregions: {us: {nodes: {a: h1}}, eu: {nodes: {b: h2}}}", `"asia" is no region`},
		{"initial-primary: us\nregions: {us: {nodes: {a: h1}}, eu: {nodes: {b: h1}}}", "is given to"},
		{"initial-primary: us\nregions: {us: {nodes: {a: h1}}, eu: {nodes: {a: h2}}}", "name a"},
		{"regions: {us: {nodes: {a: }}}", "a has no host"},
		{"regions: {us: {}}", "us has no nodes"},
		{"regoins: {}", "regoins"},
		{"tls: {}\nregions: {us: {nodes: {a: h1}}}", "tls.dir"},
		{"regions: {us: {nodes: {a/b: h1}}}", "no name"},
		{"regions: {us: {nodes: {a: h1}}}\n---\nwitnesses: {w1: h2}", "second document"},
		{"regions: {witness: {nodes: {a: h1}}}", "the name witness"},
		{"regions: {us: {nodes: {a: h1}}}\nwitnesses: {w1: {host: h2, client: \"h2:2379\"}}", "serves no clients"},
		{"regions: {us: {nodes: {a: {host: h1, settings: {name: b}}}}}", ""},
	} {
		f, err := Parse([]byte(test.text))
		if test.want == "" { // it is found when the file is made
			m, _ := f.Member("a")
			if _, _, err := f.File(m); err == nil || !strings.Contains(err.Error(), "name is not a setting") {
				t.Errorf("%q: %v", test.text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

// A witness is told what nodes ask of each other, since they ask it of the witness too; and what it has no setting for
// is refused where it is said to it alone.
func TestAWitnessShowsWhatNodesAskFor(t *testing.T) {
	const fleet = `
initial-primary: us
tls: {dir: /etc/mimir/tls}
settings:
  log-format: json
  encryption-key-file: /etc/mimir/data.keys
  fleet-key-file: /etc/mimir/fleet.keys
  fleet-key-optional: true
  crowds: [10.0.0.0/8, 10.9.0.1]
  tls-min-version: "1.3"
  peer-tls: {allowed-cn: [a, b], crl: /etc/mimir/crl.pem, client-cert: /x}
regions: {us: {nodes: {us-1: h1}}, eu: {nodes: {eu-1: h2}}}
witnesses:
  w1: h3
  w2: {host: h4, settings: {encryption-key-file: /etc/mimir/w2.keys, tls-min-version: "1.2", fleet-key-optional: false}}
`
	f, err := Parse([]byte(fleet))
	if err != nil {
		t.Fatal(err)
	}
	command := func(name string) string {
		m, _ := f.Member(name)
		_, text, err := f.File(m)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\\", "")), " ") + " "
	}
	w1, w2 := command("w1"), command("w2")
	for _, want := range []string{"--fleet-key-file /etc/mimir/fleet.keys ", "--fleet-key-optional=true ",
		"--crowds 10.0.0.0/8,10.9.0.1 ", "--tls-min-version 1.3 ", "--peer-tls-allowed-cn a,b ",
		"--peer-tls-crl /etc/mimir/crl.pem ", "--peer-tls-bind node ", "--peer-tls-cert /etc/mimir/tls/peer.crt "} {
		if !strings.Contains(w1, want) {
			t.Errorf("w1: no %q in %s", want, w1)
		}
	}
	for _, not := range []string{"log-format", "encryption", "client-cert"} {
		if strings.Contains(w1, not) {
			t.Errorf("w1: %q in %s", not, w1)
		}
	}
	for _, want := range []string{"--encryption-key-file /etc/mimir/w2.keys ", "--tls-min-version 1.2 ",
		"--fleet-key-optional=false ", "--fleet-key-file /etc/mimir/fleet.keys "} {
		if !strings.Contains(w2, want) {
			t.Errorf("w2: no %q in %s", want, w2)
		}
	}
	other := strings.Replace(fleet, "w1: h3", "w1: {host: h3, settings: {priority: 7}}", 1)
	if f, err = Parse([]byte(other)); err != nil {
		t.Fatal(err)
	}
	m, _ := f.Member("w1")
	if _, _, err := f.File(m); err == nil || !strings.Contains(err.Error(), "a witness has no setting priority") {
		t.Errorf("a setting that it has not: %v", err)
	}
}
