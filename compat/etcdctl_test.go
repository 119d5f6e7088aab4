package compat

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// etcdctlBlocks are the blocks of sh of a page that begin so, in the order in which they are run. Those that wait for
// more than is here are in notHere.
var etcdctlBlocks = []struct{ page, begins string }{
	{"quickstart.md", "etcdctl --endpoints $MIMIR_ENDPOINTS put"},
	{"operating.md", "etcdctl --endpoints 10.2.0.1:2379 put greeting"},
	{"operating.md", "etcdctl --endpoints 10.1.0.1:2379,10.2.0.1:2379 endpoint hashkv"},
	{"operating.md", "etcdctl txn"},
	{"operating.md", "etcdctl alarm list"},
	{"auth.md", "etcdctl user add root"},
	{"auth.md", "export ETCDCTL_USER"},
	{"auth.md", "curl -s"}, // from here on as root
	{"operating.md", "etcdctl --endpoints 10.1.0.2:2379 member add us-4"},
	{"operating.md", "etcdctl --endpoints 10.1.0.2:2379 member update"},
	{"operating.md", "etcdctl --endpoints 10.1.0.2:2379 member list"},
	{"auth.md", "unset ETCDCTL_USER"}, // behind which root has another password
}

// notHere are blocks of etcdctl that are run elsewhere, or say why not.
var notHere = map[string]string{
	"etcdctl --endpoints OLD:2379 snapshot save":           "TestRecipe, by the client that etcdctl is made of",
	"etcdctl --endpoints 10.1.0.2:2379 member promote $(e": "us-4 does not run here; e2e's members_test promotes one",
}

// TestEtcdctlAsWritten does what the pages say that is done with etcdctl, with etcd's own, against three nodes of one
// region and one of another. Each block is a script; of one that shows a refusal the last line has to be refused.
func TestEtcdctlAsWritten(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "etcdctl"),
		"go.etcd.io/etcd/etcdctl/v3")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := localfleet.New(localfleet.Options{
		Dir: filepath.Join(dir, "fleet"), Regions: []string{"us", "eu"}, Nodes: 3,
		Command: []string{buildMimir(t), "serve", "--bcrypt-cost", "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if err := localfleet.Start(f.Nodes()); err != nil {
		t.Fatal(err)
	}
	us, eu := localfleet.Clients(f.Regions[0].Nodes), localfleet.Clients(f.Regions[1].Nodes)
	s := script{dir: dir, first: us[1], replaced: strings.NewReplacer("10.1.0.1:2379", us[1], "10.1.0.2:2379", us[1],
		"10.2.0.1:2379", eu[0],
		"10.1.0.4:2380", "127.0.0.4:1", "10.1.0.9:2380", "127.0.0.9:1", // where nobody is
		"REVISION", "2", "localhost:2379", us[1])}
	s.variables = []string{"MIMIR_ENDPOINTS=" + us[1] + "," + eu[0]}
	s.untilDone(t, "etcdctl --endpoints "+eu[0]+" put first 1")
	left := etcdctlPages(t)
	for _, b := range etcdctlBlocks {
		i := slices.IndexFunc(left[b.page], func(block string) bool { return strings.HasPrefix(block, b.begins) })
		if i < 0 {
			t.Fatalf("%s has no block %q", b.page, b.begins)
		}
		block := left[b.page][i]
		left[b.page] = slices.Delete(left[b.page], i, i+1)
		if strings.HasPrefix(block, "curl") {
			s.asksWithAToken(t, block)
			s.variables = append(s.variables, "ETCDCTL_USER=root:SECRET")
			continue
		}
		lines := strings.Split(strings.TrimSpace(block), "\n")
		last := lines[len(lines)-1]
		denied := strings.HasSuffix(last, "# permission denied")
		if denied {
			block = strings.TrimSuffix(strings.TrimSpace(block), last)
		}
		out, err := s.run(t, block)
		if t.Logf("%s%s", block, out); err != nil {
			t.Fatalf("%s%v\n%s", block, err, out)
		}
		if !denied {
			continue
		}
		if out, err := s.run(t, last); err == nil || !strings.Contains(out, "permission denied") {
			t.Errorf("%s: %v\n%s", last, err, out)
		}
	}
	for page, blocks := range left {
		for _, block := range blocks {
			if !slices.ContainsFunc(keysOf(notHere), func(b string) bool { return strings.HasPrefix(block, b) }) {
				t.Errorf("%s: nobody runs\n%s", page, block)
			}
		}
	}
}

func keysOf(m map[string]string) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

// script runs blocks of pages, with what there is in the place of what they have for example.
type script struct {
	dir       string
	first     string // endpoint of blocks that name none
	replaced  *strings.Replacer
	variables []string
}

func (s *script) run(t *testing.T, block string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-e", "-c", s.replaced.Replace(block))
	c.Dir = s.dir
	c.Env = append(os.Environ(), "PATH="+s.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	c.Env = append(c.Env, s.variables...)
	if !strings.Contains(block, "--endpoints") { // etcdctl takes no flag beside its variable
		c.Env = append(c.Env, "ETCDCTL_ENDPOINTS="+s.first)
	}
	out, err := c.CombinedOutput()
	return string(out), err
}

// untilDone runs a command until it succeeds: the fleet has just been started.
func (s *script) untilDone(t *testing.T, command string) {
	t.Helper()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-again.C {
		out, err := s.run(t, command)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

// asksWithAToken runs the two lines of a block: the first gets the token that the second shows.
func (s *script) asksWithAToken(t *testing.T, block string) {
	t.Helper()
	first, second, _ := strings.Cut(strings.TrimSpace(block), "\n")
	out, err := s.run(t, first)
	var answer struct{ Token string }
	if err != nil || json.Unmarshal([]byte(out), &answer) != nil || answer.Token == "" {
		t.Fatalf("%s: %v\n%s", first, err, out)
	}
	out, err = s.run(t, strings.Replace(second, "eyJ…", answer.Token, 1))
	if err != nil || !strings.Contains(out, `"kvs"`) {
		t.Errorf("%s: %v\n%s", second, err, out)
	}
}

var aBlock = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")

// etcdctlPages are the blocks of sh of all pages that begin with etcdctl, or belong to users, by page.
func etcdctlPages(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range aBlock.FindAllStringSubmatch(string(text), -1) {
			block := strings.TrimLeft(m[1], " ")
			users := filepath.Base(file) == "auth.md" && !strings.HasPrefix(block, "openssl")
			if users || strings.HasPrefix(block, "etcdctl ") && filepath.Base(file) != "runbooks.md" {
				pages[filepath.Base(file)] = append(pages[filepath.Base(file)], block)
			}
		}
	}
	return pages
}
