package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

var (
	campaignTime = flag.Duration("campaign", 0, "TestCampaign draws faults for so long; default: each fault once")
	campaignSeed = flag.Uint64("seed", 0, "what TestCampaign draws from; default: 1, with -campaign any")
	campaignOf   = flag.String("faults", "", "faults of TestCampaign, separated by commas; default: all")
)

// fault is something that goes wrong at a machine or between regions.
type fault interface {
	// cannot says why this machine cannot do it, "" if it can.
	cannot(c *campaign) string
	// strike does it, and checks what is to be seen at once.
	strike(ctx context.Context, c *campaign) (what string, err error)
	// mend undoes it, and checks what was to be seen meanwhile.
	mend(ctx context.Context, c *campaign) error
}

// faults are all, in the order of the bounded form. Those from which the fleet has other nodes come last.
var faults = []struct {
	name string
	hold time.Duration // in the bounded form, beyond what the fault waits for itself
	draw func() fault
}{
	{"standstill", 3 * time.Second, func() fault { return &standstill{} }},
	{"kill", time.Second, func() fault { return &kill{} }},
	{"cut", 2 * time.Second, func() fault { return &cut{} }},
	{"slowdisk", 3 * time.Second, func() fault { return &slowDisk{} }},
	{"switchover", 0, func() fault { return &moved{} }},
	{"crowd", time.Second, func() fault { return &crowd{} }},
	{"fulldisk", time.Second, func() fault { return &smallDisk{} }},
	{"rollback", 0, func() fault { return &rolledBack{} }},
	{"foreign", 0, func() fault { return &foreign{} }},
	{"failover", 0, func() fault { return &forced{} }},
	{"address", 0, func() fault { return &elsewhere{} }},
	{"addresses", 0, func() fault { return &allElsewhere{} }},
	{"bitflip", 0, func() fault { return &bitFlip{} }},
	{"removal", 0, func() fault { return &removal{} }},
}

// easy are the faults that may come beside another, in the other region.
var easy = []func() fault{
	func() fault { return &standstill{} }, func() fault { return &kill{} }, func() fault { return &slowDisk{} },
}

// How long a fault lasts that is drawn, and how many acknowledged writes there are between two.
const (
	shortestHold = 500 * time.Millisecond
	longestHold  = 20 * time.Second
	settledAcks  = 100
)

// campaign is a run with traffic under which one fault follows the other.
type campaign struct {
	*run
	rng     *rand.Rand
	traffic *traffic
	region  *localfleet.Region // in which the next fault happens, nil for any
	former  []*localfleet.Node // that belong to the fleet no longer
	checked int                // operations that were found linearizable
	mounted string             // a disk that is to be taken away at the end, "" for none
}

// Every fault under load: nothing that was acknowledged is lost, registers are linearizable, and all nodes are equal
// afterwards.
func TestCampaign(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes for more than a minute")
	}
	seed := *campaignSeed
	switch {
	case seed == 0 && *campaignTime == 0:
		seed = 1
	case seed == 0:
		seed = uint64(time.Now().UnixNano())
	}
	dir := t.TempDir()
	o := Options{Binary: built(t), Dir: dir, Delay: 2 * time.Millisecond, Writes: 100, Out: testWriter{t}}
	t.Logf("again with: go test ./e2e -run TestCampaign -campaign %s -seed %d -timeout 0", *campaignTime, seed)
	if err := runCampaign(t.Context(), o, seed); err != nil {
		showLogs(t, dir)
		t.Fatalf("seed %d: %v", seed, err)
	}
}

func runCampaign(ctx context.Context, o Options, seed uint64) error {
	f, err := localfleet.New(localfleet.Options{
		Dir: o.Dir, Command: []string{o.Binary, "serve"}, Regions: regionNames, Nodes: nodesPerRegion, Delay: o.Delay,
	})
	if err != nil {
		return err
	}
	defer f.Close()
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			n.Config.SegmentBytes, n.Config.MemTableBytes, n.Config.RetainBytes = "1MiB", "4MiB", "4MiB"
		}
		if err := r.Save(); err != nil {
			return err
		}
	}
	c := &campaign{
		run: &run{Options: o, fleet: f, report: report{out: o.Out, start: time.Now()}},
		rng: rand.New(rand.NewPCG(seed, 0)),
	}
	defer func() {
		if c.mounted != "" {
			f.Close()
			exec.Command("umount", c.mounted).Run()
		}
	}()
	if err := localfleet.Start(f.Nodes()); err != nil {
		return err
	}
	if err := c.awaitServing(ctx); err != nil {
		return err
	}
	if c.traffic, err = startTraffic(ctx, f.Nodes(), "/campaign/", seed); err != nil {
		return err
	}
	defer c.traffic.end()
	if err := c.settle(ctx); err != nil {
		return err
	}
	if err := c.rounds(ctx); err != nil {
		return err
	}
	return c.conclude(ctx)
}

// rounds does each fault once, or draws faults for as long as was asked.
func (c *campaign) rounds(ctx context.Context) error {
	for i := 0; *campaignTime == 0 && i < len(faults) || time.Since(c.start) < *campaignTime; i++ {
		chosen := faults[i%len(faults)]
		if *campaignTime > 0 {
			chosen = faults[c.rng.IntN(len(faults))]
		}
		if *campaignOf != "" && !strings.Contains(","+*campaignOf+",", ","+chosen.name+",") {
			continue
		}
		c.round++
		if err := c.once(ctx, chosen.draw(), chosen.hold); err != nil {
			return fmt.Errorf("%s (fault %d): %w", chosen.name, c.round, err)
		}
	}
	return nil
}

// once does one fault, in a campaign sometimes with an easy one in the other region.
func (c *campaign) once(ctx context.Context, f fault, hold time.Duration) error {
	if why := f.cannot(c); why != "" {
		c.line("skipped %T: %s", f, why)
		return nil
	}
	at := c.rng.IntN(len(c.fleet.Regions))
	c.region = c.fleet.Regions[at]
	began := time.Now()
	what, err := f.strike(ctx, c)
	if err != nil {
		return err
	}
	var second fault
	if *campaignTime > 0 {
		if hold > 0 {
			hold = shortestHold + time.Duration(c.rng.Int64N(int64(longestHold-shortestHold)))
		}
		if s := easy[c.rng.IntN(len(easy))](); c.rng.IntN(3) == 0 && s.cannot(c) == "" {
			c.region, second = c.fleet.Regions[1-at], s
		}
	}
	if second != nil {
		beside, err := second.strike(ctx, c)
		if err != nil {
			return fmt.Errorf("%s, and beside it: %w", what, err)
		}
		what += ", and " + beside
	}
	if err := wait(ctx, hold); err != nil {
		return err
	}
	if second != nil {
		if err := second.mend(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := f.mend(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	mended := time.Now()
	if err := c.settle(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	c.line("%s; took %s, and %s until all was well", what, short(mended.Sub(began)), short(time.Since(mended)))
	return nil
}

// settle wants all nodes to serve, clients of all nodes to write, and everything that they saw until now to be
// linearizable.
func (c *campaign) settle(ctx context.Context) error {
	if err := c.traffic.follow(c.fleet.Nodes()); err != nil {
		return err
	}
	for _, n := range c.fleet.Nodes() {
		if !n.Running() {
			return fmt.Errorf("%s ended: %s: %s", n.Config.Name, n.Exit(), n.LastWords())
		}
	}
	if err := c.awaitServing(ctx); err != nil {
		return err
	}
	if err := c.traffic.more(ctx, c.run, settledAcks); err != nil {
		return err
	}
	history, err := c.traffic.take(ctx)
	if err != nil {
		return err
	}
	c.checked += len(history)
	return linearizable(history)
}

// conclude wants all nodes equal, everything acknowledged there, and no stack in any log.
func (c *campaign) conclude(ctx context.Context) error {
	c.traffic.end()
	end, err := c.awaitEqual(ctx)
	if err != nil {
		return err
	}
	held, err := sameContents(ctx, c.fleet.Regions[0], c.fleet.Regions[1], c.traffic.prefix, end)
	if err != nil {
		return err
	}
	acked, err := checkAcknowledged(c.traffic.writes, held, nothingMissing)
	if err != nil {
		return err
	}
	c.line("%d operations on registers are linearizable; all %d acknowledged writes are in both regions, %d ended "+
		"with an error", c.checked, acked, failures(c.traffic.writes))
	if err := c.checkHashes(ctx, end); err != nil {
		return err
	}
	for _, n := range c.fleet.Nodes() {
		if !n.Running() {
			return fmt.Errorf("%s ended: %s: %s", n.Config.Name, n.Exit(), n.LastWords())
		}
	}
	for _, n := range append(c.fleet.Nodes(), c.former...) {
		if err := noStack(n); err != nil {
			return err
		}
	}
	c.summarizeLogs()
	return nil
}

// showLogs prints the logs of all nodes in a directory.
func showLogs(t *testing.T, dir string) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*", "log"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		t.Logf("%s:\n%s", name, text)
	}
}

// noStack wants nothing in the log of a node that only a bug writes there.
func noStack(n *localfleet.Node) error {
	return silentOf(n, "panic", "fatal error:", "DATA RACE", "goroutine ", "this is a bug of mimir")
}

// silentOf wants no line of a node's log to have any of these words.
func silentOf(n *localfleet.Node, words ...string) error {
	text, err := os.ReadFile(n.LogPath())
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		for _, bad := range words {
			if strings.Contains(line, bad) {
				return fmt.Errorf("log of %s: %s", n.Config.Name, strings.TrimSpace(line))
			}
		}
	}
	return nil
}
