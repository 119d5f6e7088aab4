package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// lastVersion is the commit that -before last means: the one before what is worked on. Move it with each version.
const lastVersion = "8f1379cc186649465244144eb98f88202ed6f1f1"

var before = flag.String("before", "",
	"the version that TestVersionBefore runs beside this one: a commit, a binary, or last; default: it is skipped")

// mixed is a fleet of two versions.
type mixed struct {
	*run
	old, this string // binaries
}

// Two regions of three nodes go from the version before to this one, node by node, and one back; of both versions they
// switch over, fail over by force and start again, led by either one, by a roster that the version before wrote, and
// vote at the end (invariant 16).
func TestVersionBefore(t *testing.T) {
	if *before == "" {
		t.Skip("builds another version and runs for minutes; see CONTRIBUTING.md: -before last")
	}
	ctx, dir := t.Context(), t.TempDir()
	m := &mixed{old: binaryOf(t, *before, dir), this: filepath.Join(dir, "mimir")}
	if err := Build(ctx, m.this); err != nil {
		t.Fatal(err)
	}
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{m.old, "serve"}, Regions: regionNames, Nodes: nodesPerRegion,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.run = &run{Options: Options{Binary: m.this, Dir: dir, Writes: 100, Out: testWriter{t}}, fleet: f}
	m.report = report{out: m.Out, start: time.Now()}
	if err := localfleet.Start(f.Nodes()); err != nil {
		t.Fatal(err)
	}
	if err := m.awaitServing(ctx); err != nil {
		t.Fatal(err)
	}
	us, eu := f.Regions[0], f.Regions[1]
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"regions as state of the fleet, by the old version", func() error { return m.roster(ctx) }},
		{"one node of each region of this version", func() error {
			return m.roll(ctx, m.this, eu.Nodes[0], us.Nodes[0])
		}},
		{"switchovers led by the old and this", func() error { return m.led(ctx, m.old, m.this, m.switchover) }},
		{"switchovers led by this and the old", func() error { return m.led(ctx, m.this, m.old, m.switchover) }},
		{"failover to this, from the old", func() error { return m.led(ctx, m.old, m.this, m.failover) }},
		{"failover to the old, from this", func() error { return m.led(ctx, m.this, m.old, m.failover) }},
		{"power cut", func() error { return m.restart(ctx) }},
		{"back to the old version", func() error { return m.roll(ctx, m.old, eu.Nodes[0], us.Nodes[0]) }},
		{"one region of this version", func() error { return m.roll(ctx, m.this, eu.Nodes...) }},
		{"switchovers of regions of two versions", func() error { return m.switchover(ctx) }},
		{"failover of regions of two versions", func() error { return m.failover(ctx) }},
		{"all nodes of this version", func() error { return m.roll(ctx, m.this, us.Nodes...) }},
		{"the roster as this version writes it", func() error { return m.ranked(ctx) }},
		{"power cut with that", func() error { return m.restart(ctx) }},
		{"votes", func() error { return m.vote(ctx) }},
	} {
		m.round++
		m.phase(s.name)
		if err := s.do(); err != nil {
			m.summarizeLogs()
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	m.summarizeLogs()
}

// binaryOf returns the binary of a version: a file, or a commit of the repository's history, which is built.
func binaryOf(t *testing.T, version, dir string) string {
	if info, err := os.Stat(version); err == nil && info.Mode().IsRegular() {
		path, err := filepath.Abs(version)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	if version == "last" {
		version = lastVersion
	}
	top, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := strings.TrimSpace(string(top))
	if text, err := exec.CommandContext(t.Context(), "git", "-C", root, "cat-file", "-e", version+"^{commit}").
		CombinedOutput(); err != nil {
		t.Skipf("the history of %s has no commit %s: name one that it has, or a binary, by -before: %s", root, version,
			text)
	}
	archive := exec.CommandContext(t.Context(), "git", "-C", root, "archive", version)
	tree, err := archive.Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "before")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	unpack := exec.CommandContext(t.Context(), "tar", "-xf", "-", "-C", source)
	unpack.Stdin = bytes.NewReader(tree)
	if text, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v: %s", version, err, text)
	}
	binary := filepath.Join(dir, "mimir.before")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./cmd/mimir")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", version, err, text)
	}
	return binary
}

// roll has nodes run another version, one after the other, while clients of all nodes write.
func (m *mixed) roll(ctx context.Context, binary string, nodes ...*localfleet.Node) error {
	clients, closeAll, err := connectEach(localfleet.Clients(m.fleet.Nodes()))
	if err != nil {
		return err
	}
	defer closeAll()
	prefix := m.prefix("roll")
	w := startWriters(ctx, clients, prefix, 0)
	defer w.stop()
	for _, n := range nodes {
		if err := w.more(ctx, m.Writes); err != nil {
			return err
		}
		if err := m.renew(ctx, n, binary); err != nil {
			return err
		}
	}
	if err := w.more(ctx, m.Writes); err != nil {
		return err
	}
	writes := w.stop()
	end, err := m.awaitEqual(ctx)
	if err != nil {
		return err
	}
	held, err := sameContents(ctx, m.fleet.Regions[0], m.fleet.Regions[1], prefix, end)
	if err != nil {
		return err
	}
	acked, err := checkAcknowledged(writes, held, nothingMissing)
	if err != nil {
		return err
	}
	m.line("all %d acknowledged writes are in both regions; %d were not acknowledged", acked, failures(writes))
	return m.checkHashes(ctx, end)
}

// renew stops a node in good order and starts it as a binary.
func (m *mixed) renew(ctx context.Context, n *localfleet.Node, binary string) error {
	if status := n.Stop(); status != 0 {
		return fmt.Errorf("%s ended with exit status %d: %s", n.Config.Name, status, n.LastWords())
	}
	n.Command = []string{binary, "serve"}
	if err := n.Start(); err != nil {
		return err
	}
	return m.awaitServing(ctx)
}

// led runs a phase once the primary and the other region are led by nodes of these binaries.
func (m *mixed) led(ctx context.Context, primary, other string, phase func(context.Context) error) error {
	a, b, err := m.primary(ctx)
	if err != nil {
		return err
	}
	if err := m.lead(ctx, a, primary); err != nil {
		return err
	}
	if err := m.lead(ctx, b, other); err != nil {
		return err
	}
	return phase(ctx)
}

// lead stops the leader of a region, and starts it again, until a node of a binary leads.
func (m *mixed) lead(ctx context.Context, region *localfleet.Region, binary string) error {
	const tries = 30
	for range tries {
		n, err := m.leader(ctx, region)
		if err != nil {
			return err
		}
		if n.Command[0] == binary {
			return nil
		}
		if err := m.renew(ctx, n, n.Command[0]); err != nil {
			return err
		}
	}
	return fmt.Errorf("no node of %s leads %s after %d tries", binary, region.Name, tries)
}

// roster has the primary write which regions there are: the other one with fewer of its addresses.
func (m *mixed) roster(ctx context.Context) error {
	_, other, err := m.primary(ctx)
	if err != nil {
		return err
	}
	var change replication.RegionChange
	n := other.Nodes
	if err := m.await(ctx, "an order about regions", func(ctx context.Context) string {
		if err := m.operate(ctx, &change, "region", "add", other.Name, "--no-wait", "--peers",
			n[0].Config.ListenPeer+","+n[1].Config.ListenPeer); err != nil {
			return err.Error() // it began just now, and not everybody has heard of everybody
		}
		return ""
	}); err != nil {
		return err
	}
	if !change.Written {
		return fmt.Errorf("nothing was written: %q", change.Steps)
	}
	return m.await(ctx, "all nodes go by the roster", m.without(func(r *replication.RosterMark) bool {
		return r.Number == change.Number
	}))
}

// ranked waits until the roster of the version before was written anew, which the primary does by itself.
func (m *mixed) ranked(ctx context.Context) error {
	return m.await(ctx, "all nodes go by a ranked roster", m.without(func(r *replication.RosterMark) bool {
		return r.Ranked
	}))
}

// without returns which node does not go by such a roster.
func (m *mixed) without(is func(*replication.RosterMark) bool) func(context.Context) string {
	return func(ctx context.Context) string {
		for _, n := range m.fleet.Nodes() {
			f, err := fleetOf(ctx, n)
			switch {
			case err != nil:
				return fmt.Sprintf("%s: %v", n.Config.Name, err)
			case f.Roster == nil || !is(f.Roster):
				return fmt.Sprintf("%s goes by %+v", n.Config.Name, f.Roster)
			}
		}
		return ""
	}
}

// vote has the regions and a witness of this version vote, by one command.
func (m *mixed) vote(ctx context.Context) error {
	ports := localfleet.AnyPorts()
	defer ports.Close()
	place, err := localfleet.PlaceOn(ports, filepath.Join(m.Dir, localfleet.WitnessName))
	if err != nil {
		return err
	}
	w := &localfleet.Node{Dir: filepath.Dir(place.DataDir), Arguments: []string{m.this, "witness", "--name",
		localfleet.WitnessName, "--listen", place.Peer, "--data-dir", place.DataDir}}
	if err := os.MkdirAll(w.Dir, 0o755); err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Kill()
	var charter replication.Charter
	witness := localfleet.WitnessName + "=" + place.Peer
	if err := m.await(ctx, "an order about votes", func(ctx context.Context) string {
		if err := m.operate(ctx, &charter, "fleet", "enable", "--witness", witness); err != nil {
			return err.Error() // it began just now, and not everybody has heard of everybody
		}
		return ""
	}); err != nil {
		return err
	}
	if err := m.await(ctx, "the primary has a lease", m.noLease); err != nil {
		return err
	}
	m.line("%d voters: the primary has a lease", len(charter.Voters))
	return m.switchover(ctx)
}

func (m *mixed) noLease(ctx context.Context) string {
	for _, n := range m.fleet.Nodes() {
		if node, err := ask(ctx, n); err == nil && node.Votes != nil && node.Votes.Holds {
			return ""
		}
	}
	return "nobody has one"
}
