//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/authority"
)

var fileNodes = flag.Int("fleetfile.nodes", 1, "nodes a region of the fleet that is made of a fleet file: 1 or 3")

// madeFleet is a fleet on this machine that is made of a fleet file.
type madeFleet struct {
	dir, file string
	nodes     []string // names of the nodes; the witness is w1
	clients   []string // where they serve clients, in their order
}

// newMadeFleet writes a fleet file of two regions and a witness.
func newMadeFleet(t *testing.T, each int) *madeFleet {
	t.Helper()
	dir := t.TempDir()
	f := &madeFleet{dir: dir, file: filepath.Join(dir, "fleet.yaml")}
	ports := localfleet.AnyPorts()
	text := fmt.Sprintf("fleet: test\ninitial-primary: us\ndata-dir: %s/data/{name}\ntls: {dir: \"%s/certs/{name}\"}\n"+
		"settings: {cache-bytes: 16MiB, segment-bytes: 4MiB, log-level: warn}\nregions:\n", dir, dir)
	for _, region := range []string{"us", "eu"} {
		text += "  " + region + ":\n    nodes:\n"
		for i := range each {
			addrs, err := ports.Next(2)
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%s-%d", region, i+1)
			text += fmt.Sprintf("      %s: {client: \"%s\", peer: \"%s\"}\n", name, addrs[0], addrs[1])
			f.nodes, f.clients = append(f.nodes, name), append(f.clients, addrs[0])
		}
	}
	addrs, err := ports.Next(1)
	if err != nil {
		t.Fatal(err)
	}
	text += fmt.Sprintf("witnesses: {w1: \"%s\"}\n", addrs[0])
	if err := os.WriteFile(f.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// must runs a command line that ends well, and returns what it printed.
func must(t *testing.T, arguments ...string) string {
	t.Helper()
	status, out, errs := mimir(t, arguments...)
	if status != exitDone {
		t.Fatalf("mimir %s: status %d\n%s%s", strings.Join(arguments, " "), status, out, errs)
	}
	return out
}

func (f *madeFleet) at(parts ...string) string {
	return filepath.Join(append([]string{f.dir}, parts...)...)
}

// start runs a process until the test ends.
func start(t *testing.T, log string, command ...string) {
	t.Helper()
	to, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr = to, to
	c.Env = append(os.Environ(), "RUN_AS_MIMIR=1", "MIMIR="+os.Args[0])
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		err := c.Wait()
		to.Close()
		if err != nil || t.Failed() {
			text, _ := os.ReadFile(log)
			t.Errorf("%s: %v\n%s", log, err, text)
		}
	})
}

// TestAFleetOfOneFile: its files and certificates are made, checked and used, by processes that know nothing else.
func TestAFleetOfOneFile(t *testing.T) {
	f := newMadeFleet(t, *fileNodes)
	certs := f.at("certs")
	must(t, "cert", "init", "--dir", certs, "--fleet", "test")
	must(t, "cert", "nodes", f.file, "--dir", certs)
	must(t, "cert", "client", "operator", "--dir", certs)
	if out := must(t, "cert", "nodes", f.file, "--dir", certs); out != "nothing is due\n" {
		t.Errorf("made again: %s", out)
	}
	if out := must(t, "cert", "show", certs); !strings.Contains(out, "us-1.us.test") {
		t.Errorf("%s", out)
	}
	out := must(t, "config", "generate", f.file, "--out", f.at("nodes"))
	if n := len(f.nodes) + 1; strings.Count(out, "wrote ") != n {
		t.Errorf("%d files are to be written:\n%s", n, out)
	}
	if out := must(t, "config", "generate", f.file, "--out", f.at("nodes")); strings.Contains(out, "wrote") {
		t.Errorf("the same again: %s", out)
	}
	for _, name := range f.nodes {
		must(t, "serve", "--check", "--config", f.at("nodes", name, "mimir.yaml"), "--fleet-file", f.file)
	}
	for _, name := range f.nodes {
		start(t, f.at(name+".log"), os.Args[0], "serve", "--config", f.at("nodes", name, "mimir.yaml"))
	}
	start(t, f.at("w1.log"), "sh", f.at("nodes", "w1", "witness.sh"))

	asOperator := []string{"--endpoints", strings.Join(f.clients, ","),
		"--cacert", filepath.Join(certs, "client-ca.crt"),
		"--cert", filepath.Join(certs, "operator.crt"), "--key", filepath.Join(certs, "operator.key")}
	eventually(t, "the fleet is well, and votes", func() bool {
		status, _, _ := mimir(t, append([]string{"status", "--check"}, asOperator...)...)
		shown, text, _ := mimir(t, append([]string{"fleet", "show"}, asOperator...)...)
		return status == exitDone && shown == exitDone && strings.Contains(text, "witness/w1")
	})
	f.put(t, certs)
	eventually(t, "the primary is switched over", func() bool { // a charter may just be written
		status, out, _ := mimir(t, append([]string{"switchover", "--to", "eu"}, asOperator...)...)
		return status == exitDone && strings.Contains(out, "nothing was lost")
	})
	f.put(t, certs)
	eventually(t, "events tell of the order and of who votes", func() bool { // each node as it comes to it
		status, out, _ := mimir(t, append([]string{"events"}, asOperator...)...)
		return status == exitDone && strings.Contains(out, "by certificate CN=operator") &&
			strings.Contains(out, "eu, us, witness/w1 vote")
	})
	f.differs(t)
}

// put writes as an operator, who is a client too.
func (f *madeFleet) put(t *testing.T, certs string) {
	t.Helper()
	secure, err := server.ClientTLSConfig(server.TLS{CA: filepath.Join(certs, "client-ca.crt"),
		Cert: filepath.Join(certs, "operator.crt"), Key: filepath.Join(certs, "operator.key")}, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: f.clients, TLS: secure, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "a put is taken", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "key", "value")
		return err == nil
	})
}

// differs changes a node's file, and sees that it is told apart from the fleet file.
func (f *madeFleet) differs(t *testing.T) {
	t.Helper()
	path := f.at("nodes", f.nodes[0], "mimir.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "mimir.yaml")
	changed := strings.Replace(string(text), "initial-primary: us", "initial-primary: eu", 1) + "log-format: json\n"
	if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := mimir(t, "serve", "--check", "--config", other, "--fleet-file", f.file)
	if status != exitUsage || !strings.Contains(errs, `initial-primary is "eu" here, and "us" in the fleet file`) ||
		!strings.Contains(out, `log-format is "json" here`) {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	mine := f.at("mine")
	if err := os.MkdirAll(filepath.Join(mine, f.nodes[0]), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mine, f.nodes[0], "mimir.yaml"), []byte("name: mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := mimir(t, "config", "generate", f.file, "--out", mine); status != exitUsage ||
		!strings.Contains(errs, "was not made by this command") {
		t.Errorf("status %d\n%s", status, errs)
	}
}

// TestTheFleetFileOfTheDocs makes what docs/operating.md says that it makes.
func TestTheFleetFileOfTheDocs(t *testing.T) {
	dir := t.TempDir()
	file, certs := filepath.Join(dir, "fleet.yaml"), filepath.Join(dir, "certs")
	if err := os.WriteFile(file, []byte(ofOperating(t, "fleet: production\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "cert", "init", "--dir", certs, "--fleet", "production")
	out := must(t, "cert", "nodes", file, "--dir", certs)
	out += must(t, "config", "generate", file, "--out", filepath.Join(dir, "nodes"))
	for _, want := range []string{
		filepath.Join(certs, "eu-3", "peer.crt"), filepath.Join(certs, "w1", "peer.crt"),
		filepath.Join(dir, "nodes", "us-1", "mimir.yaml"), filepath.Join(dir, "nodes", "w1", "witness.sh"),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
	node, err := os.ReadFile(filepath.Join(dir, "nodes", "eu-3", "mimir.yaml"))
	for _, want := range []string{"data-dir: /data/mimir\n", "log-level: debug\n", "listen-http: 10.2.0.3:2381\n"} {
		if !strings.Contains(string(node), want) {
			t.Errorf("%q is missing (%v) in\n%s", want, err, node)
		}
	}
}

// ofOperating returns the block of YAML of docs/operating.md that begins so.
func ofOperating(t *testing.T, beginning string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```yaml\n"+beginning)
	block, _, ended := strings.Cut(block, "```")
	if !found || !ended {
		t.Fatalf("docs/operating.md has no block of YAML %q", beginning)
	}
	return beginning + block
}

// TestTheCertificatesOfAMove: as docs/operating.md says it, a node that is to move has certificates that are valid for
// both addresses, and those of a file with the new one are valid for that alone.
func TestTheCertificatesOfAMove(t *testing.T) {
	fleet, region := ofOperating(t, "fleet: production\n"), ofOperating(t, "    nodes: {us-1: {host: 10.1.0.9")
	moving := strings.Replace(fleet, "    nodes: {us-1: 10.1.0.1, us-2: 10.1.0.2, us-3: 10.1.0.3}\n", region, 1)
	moved := strings.Replace(fleet, "us-1: 10.1.0.1,", "us-1: 10.1.0.9,", 1)
	dir := t.TempDir()
	file, certs := filepath.Join(dir, "fleet.yaml"), filepath.Join(dir, "certs")
	must(t, "cert", "init", "--dir", certs, "--fleet", "production")
	for _, step := range []struct {
		fleet          string
		valid, invalid []string
	}{
		{fleet, []string{"10.1.0.1"}, []string{"10.1.0.9"}},
		{moving, []string{"10.1.0.1", "10.1.0.9"}, nil},
		{moved, []string{"10.1.0.9"}, []string{"10.1.0.1"}},
	} {
		if err := os.WriteFile(file, []byte(step.fleet), 0o600); err != nil {
			t.Fatal(err)
		}
		out := must(t, "cert", "nodes", file, "--dir", certs)
		for _, name := range []string{"peer.crt", "server.crt"} {
			c, err := authority.ReadCertificate(filepath.Join(certs, "us-1", name))
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range step.valid {
				if err := c.VerifyHostname(host); err != nil {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
			}
			for _, host := range step.invalid {
				if c.VerifyHostname(host) == nil {
					t.Errorf("%s is valid for %s\n%s", name, host, out)
				}
			}
		}
	}
}
