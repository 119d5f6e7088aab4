//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/backup/store/storetest"
	"github.com/mimir-kv/mimir/localfleet"
)

// firstDay is somebody who builds mimir, and forms a fleet by hand, with what the pages say as it stands there but for
// addresses and places. Each node is a process.
type firstDay struct {
	t        *testing.T
	dir      string
	replaced *strings.Replacer
	pages    map[string]string
	clients  []string
}

// page returns the text of a page.
func (f *firstDay) page(name string) string {
	f.t.Helper()
	if f.pages[name] == "" {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			f.t.Fatal(err)
		}
		f.pages[name] = string(text)
	}
	return f.pages[name]
}

// block returns the block of sh of a page that begins so, with this machine's addresses and places.
func (f *firstDay) block(page, beginning string) string {
	f.t.Helper()
	for _, block := range blocksOf(f.page(page)) {
		if strings.HasPrefix(strings.TrimSpace(block), beginning) {
			return f.replaced.Replace(block)
		}
	}
	f.t.Fatalf("%s has no block %q", page, beginning)
	return ""
}

// yaml returns the block of YAML of a page that begins so, likewise.
func (f *firstDay) yaml(page, beginning string) string {
	f.t.Helper()
	_, rest, found := strings.Cut(f.page(page), "```yaml\n"+beginning)
	block, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		f.t.Fatalf("%s has no YAML %q", page, beginning)
	}
	indent := beginning[:len(beginning)-len(strings.TrimLeft(beginning, " "))]
	return f.replaced.Replace(strings.ReplaceAll("\n"+beginning+block, "\n"+indent, "\n"))
}

func (f *firstDay) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o700); err != nil {
		f.t.Fatal(err)
	}
}

// command is a script as somebody types it, with mimir at hand.
func (f *firstDay) command(ctx context.Context, script string) *exec.Cmd {
	c := exec.CommandContext(ctx, "sh", "-ec", script)
	c.Dir = f.dir
	c.Env = append(localfleet.Environment(), "PATH="+f.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return c
}

// says returns what a script says, and how it ends.
func (f *firstDay) says(script string) (string, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Minute)
	defer cancel()
	c := f.command(ctx, script)
	c.Env = append(c.Env, "MIMIR_ENDPOINTS="+strings.Join(f.clients, ","),
		"MIMIR_BACKUP_CA_FILE="+filepath.Join(f.dir, "s3.crt"))
	text, err := c.CombinedOutput()
	return string(text), err
}

// does runs a script that has to end well and say something.
func (f *firstDay) does(script, says string) {
	f.t.Helper()
	text, err := f.says(script)
	f.t.Logf("%s%s", script, text)
	if err != nil || !strings.Contains(text, says) {
		f.t.Fatalf("%v, want %q", err, says)
	}
}

// becomes waits until a script says something.
func (f *firstDay) becomes(what, script, says string) {
	f.t.Helper()
	eventually(f.t, what, func() bool {
		text, _ := f.says(script)
		return strings.Contains(text, says)
	})
}

// serves runs a node until the test ends, and stops it as a supervisor does.
func (f *firstDay) serves(script string) {
	f.t.Helper()
	c := f.command(context.WithoutCancel(f.t.Context()), "exec "+script)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		if err := c.Wait(); err != nil || f.t.Failed() {
			f.t.Errorf("%s: %v\n%s", script, err, out.String())
		}
	})
}

// node is the file of a node that has the region to itself, which is formed once, with what is set beside.
func (f *firstDay) node(region, other, beside string) string {
	return f.replaced.Replace(fmt.Sprintf("name: %s-1\nregion: %[1]s\nfleet: production\ndata-dir: DIR/%[1]s\n"+
		"listen-client: %[1]s.client\nlisten-peer: %[1]s.peer\nlisten-http: %[1]s.http\n"+
		"nodes: {%[1]s-1: %[1]s.peer}\nregions: {%[2]s: [%[2]s.peer]}\ninitial-primary: us\n"+
		"initial-cluster-state: existing\n%s", region, other, beside))
}

// newFirstDay finds addresses for three regions.
func newFirstDay(t *testing.T) *firstDay {
	f := &firstDay{t: t, dir: t.TempDir(), pages: map[string]string{}}
	s3 := storetest.NewS3(t, true)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s3.Certificate().Raw})
	f.write("s3.crt", string(authority))
	f.write("backup.keys", fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n",
		storetest.AccessKey, storetest.SecretKey))
	f.write("sudo", "#!/bin/sh\nshift 2\nexec \"$@\"\n") // this user is the one
	pairs := []string{"https://s3.example:9000", s3.URL, "/etc/mimir", f.dir, "DIR", f.dir,
		"AWS_ACCESS_KEY_ID=…", "AWS_ACCESS_KEY_ID=" + storetest.AccessKey,
		"AWS_SECRET_ACCESS_KEY=…", "AWS_SECRET_ACCESS_KEY=" + storetest.SecretKey,
		"-o mimir ", "-o " + filepath.Join(f.dir, "mimir") + " "}
	ports := localfleet.AnyPorts()
	t.Cleanup(ports.Close)
	for region, onThePage := range map[string]string{"us": "10.1.0.", "eu": "10.2.0.", "ap": "10.3.0."} {
		at, err := ports.Next(3)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, region+".client", at[0], region+".peer", at[1], region+".http", at[2],
			onThePage+"1:2379", at[0], onThePage+"2:2379", at[0], onThePage+"1:2380", at[1])
		if region != "ap" {
			f.clients = append(f.clients, at[0])
		}
	}
	f.replaced = strings.NewReplacer(pairs...)
	return f
}

// TestTheFirstDayAsWritten builds mimir, starts two regions that were told that the fleet is there already, forms it,
// adds a third one, and saves, lists and restores its backups in an object storage, by the commands of the pages.
func TestTheFirstDayAsWritten(t *testing.T) {
	if testing.Short() {
		t.Skip("links the whole program")
	}
	f := newFirstDay(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	f.does("cd "+root+"; export GOFLAGS=-buildvcs=false\n"+f.block("operating.md", "CGO_ENABLED=0 go build -o"), "")

	f.write("node.yaml", f.node("us", "eu", f.yaml("operating.md", "backup:\n")+"  ca-file: "+f.dir+"/s3.crt\n"))
	f.write("eu.yaml", f.node("eu", "us", ""))
	f.serves(f.block("kubernetes.md", "mimir serve --config"))
	f.serves("mimir serve --config eu.yaml")
	f.becomes("a region waits for the order", "mimir status", "mimir fleet init --primary")
	f.does(f.block("operating.md", "mimir fleet init"), "the fleet is formed: us is primary, epoch 1")
	f.becomes("us is ready", f.replaced.Replace("curl -sf http://us.http/readyz"), "ok")

	ap := f.yaml("operating.md", "   name: ap-1\n")
	f.write("ap.yaml", ap+f.replaced.Replace("data-dir: DIR/ap\nlisten-client: ap.client\nlisten-peer: ap.peer\n"))
	f.serves("mimir serve --config ap.yaml")
	f.does(f.block("operating.md", "mimir region add"), "ap")
	f.does("mimir region list", "roster 1 of epoch 1, written by us")

	put(t, f.clients[0], "kept")
	f.does(f.block("operating.md", "export AWS_ACCESS_KEY_ID"), "in fleet production, cluster id")
	f.restoresAsWritten()
}

// restoresAsWritten lists what the schedule took, and restores that.
func (f *firstDay) restoresAsWritten() {
	t := f.t
	t.Helper()
	block := f.block("operating.md", "mimir snapshot list 's3")
	list, _, _ := strings.Cut(block, "\n")
	keys, _, _ := strings.Cut(f.block("operating.md", "export AWS_ACCESS_KEY_ID"), "mimir")
	name := regexp.MustCompile(`snapshot@\w+@us@\S+?\.mimir`)
	taken := ""
	eventually(t, "the schedule has taken a backup", func() bool {
		text, _ := f.says(keys + list)
		taken = name.FindString(text)
		return taken != ""
	})
	addrs, err := localfleet.AnyPorts().Next(2)
	if err != nil {
		t.Fatal(err)
	}
	f.write("mimir.yaml", fmt.Sprintf("name: us-1\nregion: us\nfleet: restored\ndata-dir: %s/restored\n"+
		"listen-client: %s\nlisten-peer: %[3]s\nnodes: {us-1: \"%[3]s\"}\ninitial-primary: us\n",
		f.dir, addrs[0], addrs[1]))
	f.does(keys+name.ReplaceAllLiteralString(block, taken), "for node us-1 of region us in fleet restored")
	f.serves("mimir serve --config mimir.yaml")
	f.becomes("what was restored takes writes", "mimir status --endpoints "+addrs[0], "primary us")
}
