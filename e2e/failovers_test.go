package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

var (
	failovers     = flag.Int("failovers", 0, "how many failovers TestFailovers goes on for; default: it is skipped")
	failoverFirst = flag.Int("first", 1, "the round, of those that -seed draws, with which TestFailovers begins")
	failoverLease = flag.Duration("lease", 3*time.Second, "the lease of TestFailovers")
	failoverTrip  = flag.Duration("rtt", 80*time.Millisecond, "the round trip between the sites of TestFailovers")
	failoverNodes = flag.Int("nodes", nodesPerRegion, "nodes of each region of TestFailovers")
	failoverLoss  = flag.Int("maxloss", 10_000, "acknowledged writes that a failover of TestFailovers may lose")
)

// network is what can be done to what lies between sites.
type network interface {
	// cut drops what goes from one site to another until heal.
	cut(from, to string) error
	heal()
	close() error
}

// failoverRun is TestFailovers.
type failoverRun struct {
	*run
	net   network // nil: regions are joined by links that only delay
	seed  uint64
	moved int // failovers until now
	table map[string]*ruined
	logs  map[string]int // how much of each log was read
}

// round is one fault, and what was measured of it.
type round struct {
	c         *failoverRun
	number    int
	rng       *rand.Rand
	old, next *localfleet.Region // the primary when it began, and the other one
	epoch     replication.Epoch  // the last one that was seen to begin
	pulse     *pulse
	struck    time.Time
	spans     []span
	gaps      []time.Duration // without an acknowledged write, one for each time that something was struck
	apart     []time.Duration // of those of the region that took over
	took      time.Duration   // what the order took, or the pause that a switchover told; zero if there was none
	bound     uint64          // acknowledged writes that the failovers told may be lost at most
	failovers int
}

// Two regions and a witness, under everything from which the primary moves by itself, and some from which it does not:
// nothing acknowledged is lost that is not in a rescue file, and no more of it than was told before; registers are
// linearizable over the reigns. It prints how long clients waited.
func TestFailovers(t *testing.T) {
	if *failovers == 0 {
		t.Skip("runs for minutes; see CONTRIBUTING.md: -failovers 40")
	}
	binary, why := os.Getenv(inside), cannotBeWide()
	if binary == "" {
		binary = built(t)
	}
	if why == "" && apart(t, binary) {
		return
	}
	seed := max(*campaignSeed, 1)
	if !slices.ContainsFunc(ruins, func(f ruin) bool { return f.chosen(why == "") }) {
		t.Fatalf("none of -faults %q can be done here; there are %q", *campaignOf, ruinNames())
	}
	dir, err := os.MkdirTemp("", "failovers-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &failoverRun{
		run: &run{Options: Options{Binary: binary, Dir: dir, Out: os.Stdout},
			report: report{out: os.Stdout, start: time.Now()}},
		seed: seed, table: map[string]*ruined{}, logs: map[string]int{},
	}
	if why != "" {
		c.line("no namespaces (%s): regions are joined by links, the witness is near, and nothing is cut", why)
	}
	err = c.whole(ctx, why == "")
	c.print()
	if err != nil && ctx.Err() == nil {
		t.Fatalf("%v\nlogs and data are in %s; seed %d", err, dir, seed)
	}
	os.RemoveAll(dir)
	if err != nil {
		t.Fatalf("interrupted: %v", err)
	}
}

// whole lays out the fleet, does the rounds, and ends it.
func (c *failoverRun) whole(ctx context.Context, namespaces bool) error {
	sites := append(slices.Clone(regionNames), localfleet.WitnessName)
	o := localfleet.Options{
		Dir: c.Dir, Command: []string{c.Binary, "serve"}, Witness: []string{c.Binary, "witness"},
		Lease: failoverLease.String(), MaxLoss: failoverLoss, Regions: regionNames, Nodes: *failoverNodes,
		Delay: *failoverTrip / 2, Direct: namespaces,
	}
	at := func(string) []string { return nil }
	if namespaces {
		w, err := newWide(*failoverTrip/2, sites)
		if err != nil {
			return err
		}
		defer w.close()
		c.net, at = w, w.at
		o.Place = func(node string) (localfleet.Place, error) {
			site, number, n := node, "1", 0
			if region, after, ok := strings.Cut(node, "-"); ok {
				site, number = region, after
			}
			fmt.Sscan(number, &n)
			return localfleet.Place{
				Client: w.address(site, n, 2379), Peer: w.address(site, n, 2380), HTTP: w.address(site, n, 2381),
				DataDir: filepath.Join(c.Dir, node, "data"),
			}, nil
		}
	}
	f, err := localfleet.New(o)
	if err != nil {
		return err
	}
	c.fleet = f
	defer f.Close()
	defer f.Witness.Kill()
	for _, n := range f.Nodes() {
		n.Command = append(at(n.Config.Region), n.Command...)
	}
	f.Witness.Arguments = append(at(localfleet.WitnessName), f.Witness.Arguments...)
	if err := localfleet.Start(append(f.Nodes(), f.Witness)); err != nil {
		return err
	}
	for number := *failoverFirst; c.moved < *failovers; number++ {
		if err := c.once(ctx, number); err != nil {
			return fmt.Errorf("round %d: %w\nagain from there: go test ./e2e -run TestFailovers -v -timeout 0 -args "+
				"-failovers %d -first %d -seed %d -lease %s -nodes %d -rtt %s -maxloss %d", number, err,
				*failovers-c.moved, number, c.seed, *failoverLease, *failoverNodes, *failoverTrip, *failoverLoss)
		}
	}
	return nil
}

// once does the fault that the seed has for a round: all of them, in a drawn order, and then again in another.
func (c *failoverRun) once(ctx context.Context, number int) error {
	chosen := ruins[c.order((number - 1) / len(ruins))[(number-1)%len(ruins)]]
	if !chosen.chosen(c.net != nil) {
		return nil
	}
	r := &round{c: c, number: number, rng: rand.New(rand.NewPCG(c.seed, uint64(number)))}
	start, err := r.begin(ctx)
	if err != nil {
		return fmt.Errorf("before %q: %w", chosen.name, err)
	}
	mend, err := chosen.strike(ctx, r)
	if err == nil && mend != nil {
		err = mend(ctx)
	}
	if err == nil {
		err = r.settle(ctx)
	}
	history, lost := r.pulse.end(), 0
	r.measure()
	if err == nil {
		lost, err = r.judge(ctx, start, history)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", chosen.name, errors.Join(err, r.keep(ctx, history)))
	}
	c.moved += r.failovers
	c.count(chosen.name, r, lost)
	c.line("%3d %-27s %d requests, without an acknowledgement for %v%s; %d failovers, lost %d of at most %d",
		number, chosen.name, len(history), shorts(r.gaps), took(r.took), r.failovers, lost, r.bound)
	return nil
}

// order is the order of the faults in the cycle of a number.
func (c *failoverRun) order(cycle int) []int {
	return rand.New(rand.NewPCG(c.seed, 1<<32+uint64(cycle))).Perm(len(ruins))
}

// begin waits until all is well, and has clients write. It returns the revision before they did.
func (r *round) begin(ctx context.Context) (revision int64, err error) {
	if err := r.c.awaitServing(ctx); err != nil {
		return 0, err
	}
	if r.old, r.next, err = r.c.primary(ctx); err != nil {
		return 0, err
	}
	if err := r.told(ctx); err != nil {
		return 0, err
	}
	if revision, err = r.c.awaitEqual(ctx); err != nil {
		return 0, err
	}
	if _, _, err := r.c.heard(); err != nil { // what was said before is of the round before
		return 0, err
	}
	r.pulse, err = startPulse(ctx, r.c.fleet.Nodes(), fmt.Sprintf("/%d/", r.number), r.rng)
	if err != nil {
		return 0, err
	}
	return revision, r.pulse.more(ctx, r.c.run, settledAcks, regionNames...)
}

// told wants a primary with a lease that says that no more than the budget may be lost.
func (r *round) told(ctx context.Context) error {
	return r.c.await(ctx, "the primary has a lease, and tells what may be lost", func(ctx context.Context) string {
		for _, n := range r.old.Nodes {
			node, err := ask(ctx, n)
			if err != nil || node.Votes == nil || !node.IsLeader {
				continue
			}
			r.epoch = node.Epoch
			if node.Votes.Holds && node.Votes.FlapMoves != 0 { // it is to move as often as it can
				var charter replication.Charter
				err := r.c.operate(ctx, &charter, "fleet", "change", "--flap-limit", "0")
				return fmt.Sprintf("the limit of failovers is lifted: %v", err)
			}
			if node.Votes.Holds && node.Votes.MaxLoss == uint64(*failoverLoss) {
				return ""
			}
			return fmt.Sprintf("%s says %+v", n.Config.Name, node.Votes)
		}
		return "no leader of it says anything"
	})
}

// settle waits until the fleet is whole, and clients of both regions write.
func (r *round) settle(ctx context.Context) error {
	for _, n := range append(r.c.fleet.Nodes(), r.c.fleet.Witness) {
		if !n.Running() {
			return fmt.Errorf("%s ended: %s: %s", n.Config.Name, n.Exit(), n.LastWords())
		}
	}
	if err := r.c.awaitServing(ctx); err != nil {
		return err
	}
	return r.pulse.more(ctx, r.c.run, settledAcks/2, regionNames...)
}

// judge wants all nodes equal, and everything that happened since a revision right.
func (r *round) judge(ctx context.Context, since int64, history []operation) (lost int, err error) {
	end, err := r.c.awaitEqual(ctx)
	if err != nil {
		return 0, err
	}
	l := lived{history: history}
	if l.kept, err = r.kept(ctx, since, end); err != nil {
		return 0, err
	}
	if l.lost, err = r.c.rescued(ctx); err != nil {
		return 0, err
	}
	failovers, bound, err := r.c.heard()
	if err != nil {
		return 0, err
	}
	r.failovers, r.bound = failovers, r.bound+bound
	if lost, err = l.judge(); err != nil {
		return lost, err
	}
	if uint64(lost) > r.bound || lost > *failoverLoss*failovers {
		return lost, fmt.Errorf("%d acknowledged writes were lost, and %d failovers had told of %d at most", lost,
			failovers, r.bound)
	}
	for _, n := range r.c.fleet.Nodes() {
		if err := noStack(n); err != nil {
			return lost, err
		}
	}
	return lost, r.forget(ctx, end)
}
