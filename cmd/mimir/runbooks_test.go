//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/cmd/mimir/dev"
	"github.com/mimir-kv/mimir/replication"
)

// notOfMimir are commands of docs/runbooks.md that are not run here: they ask the machine, and are run in one by
// TestAMachineAsWritten, or are etcd's.
var notOfMimir = []string{"systemctl ", "journalctl ", "iostat ", "etcdctl "}

// endsAs is how a command of docs/runbooks.md ends that does not end with 0, or has to say something: a fleet that is
// well is asked, but for what the chapters of TestTheRunbooksRun make of it.
var endsAs = map[string]struct {
	status int
	says   string
}{
	"mimir failover --to eu":               {exitFailed, "may lose writes and was not forced"},
	"mimir switchover --abort":             {exitFailed, "no switchover"},
	"mimir fleet hold --for 10m":           {exitDone, "held until"},
	"mimir tail diff NAME":                 {exitDone, "applies"},
	"mimir tail replay NAME":               {exitDone, "1 applied"},
	"mimir region remove eu --dry-run":     {exitDone, "eu"},
	"mimir switchover --to eu":             {exitDone, "eu is primary, after us"},
	"mimir verify":                         {exitDone, "hold the same at revision"},
	"mimir node rebuild us-2":              {exitDone, "has the state of a sibling; what it held is in"},
	"mimir cert show certs":                {exitDone, "client-ca.crt"},
	"mimir archive status file:///archive": {exitDone, "in force"},

	`curl --max-time 1 "http://10.1.0.1:2381/readyz?verbose"`: {
		exitDone, "ok",
	},

	"mimir snapshot save backup.snap --endpoints 10.1.0.1:2379": {
		exitDone, "backup.snap",
	},

	"mimir log --level debug --endpoints 10.1.0.1:2379": {
		exitDone, "debug",
	},

	"mimir partial status --endpoints 10.9.0.1:2379": {
		exitFailed, "this node knows no partial region of that name",
	},

	"mimir fleet change --remove witness/w1 --witness w2=10.3.0.1:2380": {
		exitDone, "witness/w2",
	},
}

// onCall is somebody who does what docs/runbooks.md says, in a shell, against a fleet of this machine.
type onCall struct {
	t        *testing.T
	dir      string
	fleet    *dev.Fleet
	replaced *strings.Replacer
	left     []string // commands that were not run yet, each once
}

// TestTheRunbooksRun runs every command of mimir that docs/runbooks.md has, and those that ask a node, as they stand
// there but for addresses, places and names. None is left out.
func TestTheRunbooksRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	o := &onCall{t: t, dir: t.TempDir()}
	for _, line := range shellLines(string(page)) {
		beside := slices.ContainsFunc(notOfMimir, func(p string) bool { return strings.HasPrefix(line, p) })
		if line != "" && !beside && !slices.Contains(o.left, line) {
			o.left = append(o.left, line)
		}
	}
	archive := filepath.Join(o.dir, "archive")
	if err := os.Mkdir(archive, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(archiveOfFleet, "file://"+archive)
	o.fleet, _, _ = startDev(t, "--regions", "us,eu", "--nodes", "3")
	us := o.fleet.Regions[0].Nodes
	w1, w2, edge := anAddress(t), anAddress(t), anAddress(t)
	o.replaced = strings.NewReplacer("10.1.0.1:2379", us[0].Client, "10.1.0.1:2381", us[0].HTTP, "10.3.0.1:2380", w2,
		"10.9.0.1:2379", edge,
		"file:///archive", "file://"+archive, "/var/lib/mimir", o.dir)
	o.follower() // then all nodes are known
	o.isAtHand()
	put(t, us[0].Client, "first")
	eventually(t, "the log is archived", func() bool {
		code, said, _ := mimir(t, "archive", "status", "file://"+archive) // a process costs more
		return code == exitDone && strings.Contains(said, "in force")
	})
	o.sets("mimir cert init --dir certs")
	aPartialNode(t, edge, us[0].Client)
	for _, command := range slices.Clone(o.left) { // what a fleet that is well answers
		later := func(part string) bool { return strings.Contains(command, part) }
		if !slices.ContainsFunc([]string{"NAME", "fleet hold", "fleet change", "switchover --to"}, later) {
			o.does(command)
		}
	}
	o.afterAFailover()
	o.does("mimir switchover --to eu")

	for name, at := range map[string]string{"w1": w1, "w2": w2} {
		aWitness(t, name, at)
	}
	o.sets("mimir fleet enable --witness w1=" + w1)
	o.does("mimir fleet change --remove witness/w1 --witness w2=10.3.0.1:2380")
	o.does("mimir fleet hold --for 10m")
	if len(o.left) > 0 {
		t.Errorf("nobody runs %q", o.left)
	}
}

// follower waits until all nodes have said where they serve clients, and returns one of us that does not lead.
func (o *onCall) follower() (name string) {
	o.t.Helper()
	eventually(o.t, "all nodes are known", func() bool {
		known := 0
		for _, r := range status(o.t, o.fleet.Regions[0].Nodes[0].Client).Regions {
			for _, n := range r.Nodes {
				if len(n.ClientURLs) > 0 {
					known++
				}
				if r.Name == "us" && !n.Leader {
					name = n.Name
				}
			}
		}
		return known == 6
	})
	return name
}

// archiveOfFleet is the variable that has nodes of a fleet archive their log there: they do not inherit MIMIR_ ones.
const archiveOfFleet = "ARCHIVE_OF_FLEET"

func archiveWhereTold() {
	if place := os.Getenv(archiveOfFleet); place != "" {
		os.Setenv("MIMIR_ARCHIVE_TO", place)
		os.Setenv("MIMIR_ARCHIVE_EVERY", "1s")
	}
}

// isAtHand has a shell find mimir.
func (o *onCall) isAtHand() {
	o.t.Helper()
	self, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nunset %s\nRUN_AS_MIMIR=1 exec %q \"$@\"\n", archiveOfFleet, self)
	if err := os.WriteFile(filepath.Join(o.dir, "mimir"), []byte(script), 0o700); err != nil {
		o.t.Fatal(err)
	}
}

// shell runs a command as somebody does who has named nodes in MIMIR_ENDPOINTS, and says yes to what it asks.
func (o *onCall) shell(command string) (status int, said string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Dir, c.Stdin = o.dir, strings.NewReader("yes\n")
	c.Env = append(os.Environ(), "PATH="+o.dir+string(os.PathListSeparator)+os.Getenv("PATH"), "MIMIR_ENDPOINTS="+
		o.fleet.Regions[0].Nodes[0].Client+","+o.fleet.Regions[1].Nodes[0].Client)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		o.t.Fatalf("%s: %v", command, err)
	}
	return c.ProcessState.ExitCode(), out.String()
}

// sets runs a command that no runbook has, for those that follow.
func (o *onCall) sets(command string) {
	o.t.Helper()
	if status, said := o.shell(command); status != exitDone {
		o.t.Fatalf("%s: %d %s", command, status, said)
	}
}

// does runs a command of the page, which has to end as expected.
func (o *onCall) does(command string) {
	o.t.Helper()
	i := slices.Index(o.left, command)
	if i < 0 {
		o.t.Fatalf("docs/runbooks.md does not have %q", command)
	}
	o.left = slices.Delete(o.left, i, i+1)
	want, line := endsAs[command], o.replaced.Replace(command)
	if strings.Contains(line, "us-2") {
		line = strings.ReplaceAll(line, "us-2", o.follower())
	}
	status, said := o.shell(line)
	o.t.Logf("%s: %d\n%s", command, status, said)
	if status != want.status || !strings.Contains(said, want.says) {
		o.t.Errorf("%s: it ended with %d, want %d and %q:\n%s", command, status, want.status, want.says, said)
	}
}

// afterAFailover has the regions part, and us write what eu, which takes over, does not have: its tail.
func (o *onCall) afterAFailover() {
	t, us, eu := o.t, o.fleet.Regions[0].Nodes[0], o.fleet.Regions[1].Nodes[0]
	t.Helper()
	data := filepath.Dir(filepath.Dir(us.DataDir))
	o.sets("mimir dev break link us-eu --data-dir " + data)
	eventually(t, "they are apart", func() bool { return status(t, us.Client).region("eu").Role == "" })
	put(t, us.Client, "lost")
	o.sets("mimir failover --to eu --force --endpoints " + eu.Client)
	o.sets("mimir dev heal --data-dir " + data)
	var tails []storedTail
	defer func() {
		if t.Failed() {
			_, said := o.shell("mimir status --verbose; mimir tail list")
			t.Log(said)
		}
	}()
	eventually(t, "all nodes of us have saved their tail, and follow", func() bool {
		_, text, _ := mimir(t, "tail", "list", "-o", "json", "--endpoints", us.Client+","+eu.Client)
		tails = nil
		code, _, _ := mimir(t, "status", "--endpoints", eu.Client)
		if code != exitDone { // both take writes until they hear of each other
			return false
		}
		s := status(t, eu.Client)
		return json.Unmarshal([]byte(text), &tails) == nil && len(tails) == 3 && s.Survivable &&
			s.region("us").Role == replication.RoleSecondary && s.region("us").Epoch == s.Epoch
	})
	for _, command := range []string{"mimir tail diff NAME", "mimir tail replay NAME"} {
		before := o.replaced
		named := strings.ReplaceAll(command, "NAME", tails[0].Name)
		o.replaced = strings.NewReplacer(command, named)
		o.does(command)
		o.replaced = before
	}
	o.sets("mimir switchover --to us")
	eventually(t, "eu follows us", func() bool {
		s := status(t, us.Client)
		return s.Primary == "us" && s.Survivable && s.region("eu").Role == replication.RoleSecondary
	})
}

// anAddress returns one at which nobody listens.
func anAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// aWitness runs one in this process until the test ends.
func aWitness(t *testing.T, name, at string) {
	t.Helper()
	runBeside(t, "witness", "--name", name, "--listen", at, "--data-dir", t.TempDir())
}

// aPartialNode runs a node of a partial region that no node knows until the test ends.
func aPartialNode(t *testing.T, at, from string) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	runBeside(t, "partial", "serve", "--region", "edge", "--name", "edge-1", "--prefix", "/a/", "--from", from,
		"--secret-file", secret, "--listen", at, "--data-dir", t.TempDir())
	eventually(t, "it is asked", func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// runBeside runs a command until the test ends.
func runBeside(t *testing.T, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, nil, arguments, os.Stderr, os.Stderr) }()
	t.Cleanup(func() { cancel(); <-done })
}
