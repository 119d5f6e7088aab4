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
