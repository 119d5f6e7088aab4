//go:build unix

package main

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var longToo = flag.Bool("long", false, "run the blocks of the pages that take long, in TestTheLongBlocks: hours")

// longBlocks are those of the pages that take long, in the order in which they are run: some need what another one
// makes. They are done in a clone of what is committed.
var longBlocks = []struct{ block, says string }{
	{"benchmarks.md: mkdir etcd-build", ""},
	{"benchmarks.md: bench/beside-etcd.sh", "put"},
	{"benchmarks.md: mimir bench --endpoints", "put"},
	{"benchmarks.md: mimir bench --clients", "put"},
	{"benchmarks.md: go run ./bench/all", ""},
	{"ocean.md: go run ./bench/ocean", ""},
	{"packages.md: cd deploy", ""},
	{"packages.md: make release", "mimir_0.4.0_linux_amd64.tar.gz: OK"},
	{"kubernetes.md: cd compat/peers", "ok"},
	{"README.md: go run ./check", ""},
}

// TestTheLongBlocks runs them as they stand there, but for the addresses of fleets, each as a script that ends at what
// fails. One of them: -run 'TestTheLongBlocks/ocean'; the first makes an etcd for those of benchmarks.
func TestTheLongBlocks(t *testing.T) {
	if !*longToo {
		t.Skip("takes hours: -long -timeout 0")
	}
	dir := t.TempDir()
	tree, bin := filepath.Join(dir, "mimir"), filepath.Join(dir, "bin")
	in := func(t *testing.T, where, script string) string {
		c := exec.CommandContext(t.Context(), "sh", "-c", "set -e\n"+script)
		c.Dir, c.Cancel = where, func() error { return c.Process.Signal(os.Interrupt) }
		c.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		said, err := c.CombinedOutput()
		t.Logf("%s%s", script, said)
		if err != nil {
			t.Fatalf("%v:\n%s", err, script)
		}
		return string(said)
	}
	in(t, ".", "git clone -q \"$(git rev-parse --show-toplevel)\" "+tree)
	in(t, tree, "CGO_ENABLED=0 go build -o "+bin+"/ ./cmd/mimir")
	for _, l := range longBlocks {
		block := blockThatBegins(t, l.block)
		t.Run(l.block, func(t *testing.T) {
			if strings.HasPrefix(block, "mimir bench") {
				block = forFleets(t, tree, block)
			}
			if said := in(t, tree, block); !strings.Contains(said, l.says) {
				t.Errorf("it does not say %q", l.says)
			}
		})
	}
}

// blockThatBegins returns the one block of a page that begins so.
func blockThatBegins(t *testing.T, key string) (block string) {
	t.Helper()
	page, begins, _ := strings.Cut(key, ": ")
	path := filepath.Join("../../docs", page)
	if page == "README.md" {
		path = "../../README.md"
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocksOf(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(b), begins) {
			return b
		}
	}
	t.Fatalf("no block %q", key)
	return ""
}

// forFleets starts a region of Mimir and an etcd, and returns a block that is about them.
func forFleets(t *testing.T, tree, block string) string {
	f, _, _ := startDev(t, "--regions", "us", "--nodes", "3")
	var ours []string
	for _, n := range f.Regions[0].Nodes {
		ours = append(ours, n.Client)
	}
	theirs := etcdIn(t, tree)
	return strings.NewReplacer(
		"10.1.0.1:2379,10.1.0.2:2379,10.1.0.3:2379", strings.Join(ours, ","),
		"10.9.0.1:2379,10.9.0.2:2379,10.9.0.3:2379", theirs,
		"--endpoints A", "--endpoints "+strings.Join(ours, ","), "--compare-endpoints B", "--compare-endpoints "+theirs,
	).Replace(block)
}

// etcdIn starts the etcd that a block before has made, and returns where it is.
func etcdIn(t *testing.T, tree string) (addr string) {
	t.Helper()
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	addr, peers := free(), free()
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, filepath.Join(tree, "etcd"), "--data-dir", t.TempDir(),
		"--listen-client-urls", "http://"+addr, "--advertise-client-urls", "http://"+addr,
		"--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers,
		"--initial-cluster", "default=http://"+peers)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatalf("%v: the block before makes it", err)
	}
	t.Cleanup(func() { cancel(); c.Wait() }) //nolint:errcheck // it is killed
	eventually(t, "etcd listens", func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}
