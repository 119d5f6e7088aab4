package e2e

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

var (
	levelsTime = flag.Duration("levels", 0, "TestFiveRegions draws upheavals for so long; default: each once")
	levelNodes = flag.Int("level-nodes", 1, "of each region of TestFiveRegions: 1, 3, 5 or 7")
)

// The regions of TestFiveRegions, and whom those of the second level follow at first.
var (
	levelRegions = []string{"us", "eu", "ap", "sa", "af"}
	levelSources = map[string]string{"sa": "eu", "af": "ap"}
)

// levels is a fleet of five regions, of which some follow others, with traffic at all nodes and a watcher in each
// region.
type levels struct {
	*run
	rng      *rand.Rand
	traffic  *traffic
	watchers map[string]*recorder // by region
	checked  int                  // operations that were found linearizable
	count    map[string]int       // of upheavals, by name
}

// Five regions in two levels, under load: links are cut and connections broken by the hundred, regions die and stand
// still, the primary moves, regions follow others, are removed and added again. Each region's watcher is told every
// revision once and in order, registers are linearizable, nothing that was acknowledged is lost, and all nodes are
// equal in the end (invariants 1, 2, 4, 5, 6, 10 and 11).
func TestFiveRegions(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes for more than a minute")
	}
	seed := *campaignSeed
	switch {
	case seed == 0 && *levelsTime == 0:
		seed = 1
	case seed == 0:
		seed = uint64(time.Now().UnixNano())
	}
	dir := t.TempDir()
	t.Logf("again with: go test ./e2e -run TestFiveRegions -v -levels %s -level-nodes %d -seed %d -timeout 0",
		*levelsTime, *levelNodes, seed)
	o := Options{Binary: built(t), Dir: dir, Delay: 5 * time.Millisecond, Out: testWriter{t}}
	if err := runLevels(t.Context(), o, seed); err != nil {
		showLogs(t, dir)
		t.Fatalf("seed %d: %v", seed, err)
	}
}

func runLevels(ctx context.Context, o Options, seed uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := localfleet.New(localfleet.Options{
		Dir: o.Dir, Command: []string{o.Binary, "serve"}, Regions: levelRegions, Nodes: *levelNodes, Delay: o.Delay,
	})
	if err != nil {
		return err
	}
	defer f.Close()
	l := &levels{
		run: &run{Options: o, fleet: f, report: report{out: o.Out, start: time.Now()}},
		rng: rand.New(rand.NewPCG(seed, 0)), watchers: map[string]*recorder{}, count: map[string]int{},
	}
	if err := localfleet.Start(f.Nodes()); err != nil {
		return err
	}
	if err := l.awaitServing(ctx); err != nil {
		return err
	}
	if err := l.arrange(ctx); err != nil {
		return err
	}
	closeAll, err := l.watch(ctx)
	if err != nil {
		return err
	}
	defer closeAll()
	if l.traffic, err = startTraffic(ctx, f.Nodes(), "/levels/", seed); err != nil {
		return err
	}
	defer l.traffic.end()
	if err := l.settle(ctx); err != nil {
		return err
	}
	if err := l.rounds(ctx); err != nil {
		return err
	}
	return l.conclude(ctx)
}

// arrange puts regions on the second level.
func (l *levels) arrange(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(levelSources)) {
		if err := l.follow(ctx, name, levelSources[name]); err != nil {
			return err
		}
	}
	l.line("%d regions of %d nodes serve, %v of them by others; %s between them", len(levelRegions), *levelNodes,
		levelSources, l.Delay)
	return nil
}

// follow orders whom a region is to follow, and waits until it does.
func (l *levels) follow(ctx context.Context, name, source string) error {
	var change replication.RegionChange
	if err := l.await(ctx, "an order about "+name, func(ctx context.Context) string {
		if err := l.operate(ctx, &change, "region", "move", name, "--source", source); err != nil {
			return err.Error() // it began just now, and not everybody has heard of everybody
		}
		return ""
	}); err != nil {
		return err
	}
	return l.await(ctx, name+" follows "+source, func(ctx context.Context) string {
		_, row, err := l.row(ctx, name)
		switch {
		case err != nil:
			return err.Error()
		case row.Source != source || !row.Connected:
			return fmt.Sprintf("it follows %q, connected: %t", row.Source, row.Connected)
		}
		return ""
	})
}

// row is what a region's own node says of the fleet, and of the region.
func (l *levels) row(
	ctx context.Context, name string,
) (status *replication.FleetStatus, row *replication.RegionStatus, err error) {
	if status, err = fleetOf(ctx, l.fleet.Region(name).Nodes[0]); err != nil {
		return nil, nil, err
	}
	for i := range status.Regions {
		if status.Regions[i].Name == name {
			return status, &status.Regions[i], nil
		}
	}
	return nil, nil, fmt.Errorf("region %s does not know itself", name)
}

// watch begins a watcher in each region, from what all have now.
func (l *levels) watch(ctx context.Context) (closeAll func(), err error) {
	start, err := l.awaitEqual(ctx)
	if err != nil {
		return nil, err
	}
	regions := l.fleet.Regions
	of := func(i int) []string { return localfleet.Clients(regions[i].Nodes) }
	clients, closeAll, err := connectAll(len(regions), of)
	if err != nil {
		return nil, err
	}
	for i, region := range regions {
		l.watchers[region.Name] = record(ctx, clients[i], start+1)
	}
	return closeAll, nil
}

// rounds makes each upheaval once, or draws them for as long as was asked.
func (l *levels) rounds(ctx context.Context) error {
	for i := 0; *levelsTime == 0 && i < len(upheavals) || time.Since(l.start) < *levelsTime; i++ {
		chosen := upheavals[i%len(upheavals)]
		if *levelsTime > 0 {
			chosen = upheavals[l.rng.IntN(len(upheavals))]
		}
		l.round++
		l.count[chosen.name]++
		began := time.Now()
		what, err := chosen.make(l, ctx)
		if err != nil {
			return fmt.Errorf("%s (upheaval %d): %s: %w", chosen.name, l.round, what, err)
		}
		mended := time.Now()
		if err := l.settle(ctx); err != nil {
			return fmt.Errorf("%s (upheaval %d): %s: %w", chosen.name, l.round, what, err)
		}
		l.line("%s; took %s, and %s until all was well", what, short(mended.Sub(began)), short(time.Since(mended)))
	}
	return nil
}

// settle wants all nodes to serve, clients of all nodes to write, everything that they saw until now to be
// linearizable, and every watcher to have been told of it.
func (l *levels) settle(ctx context.Context) error {
	for _, n := range l.fleet.Nodes() {
		if !n.Running() {
			return fmt.Errorf("%s ended: %s: %s", n.Config.Name, n.Exit(), n.LastWords())
		}
	}
	if err := l.awaitServing(ctx); err != nil {
		return err
	}
	if err := l.traffic.more(ctx, l.run, settledAcks); err != nil {
		return err
	}
	history, err := l.traffic.take(ctx)
	if err != nil {
		return err
	}
	l.checked += len(history)
	if err := linearizable(history); err != nil {
		return err
	}
	revision := int64(0)
	for _, op := range history {
		revision = max(revision, op.revision)
	}
	return l.told(ctx, revision)
}

// told waits until every watcher was told of a revision.
func (l *levels) told(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for name, w := range l.watchers {
		if _, err := w.upTo(ctx, revision); err != nil {
			return fmt.Errorf("watcher in %s: %w", name, err)
		}
	}
	return nil
}

// settled wants each region to follow whom it is to, and to know how late it is.
func (l *levels) settled(ctx context.Context) error {
	return l.await(ctx, "regions follow whom they are to", func(ctx context.Context) string {
		for _, r := range l.fleet.Regions {
			status, row, err := l.row(ctx, r.Name)
			switch {
			case err != nil:
				return err.Error()
			case status.Primary == r.Name:
			case row.Source != cmp.Or(row.WantedSource, status.Primary) || !row.Connected || row.Lag.Seconds < 0:
				return fmt.Sprintf("%s follows %q, connected: %t, late by %+v; it is to follow %q", r.Name, row.Source,
					row.Connected, row.Lag, cmp.Or(row.WantedSource, status.Primary))
			}
		}
		return ""
	})
}

// amiss is what nodes log that found a history which does not go on as it has to, or another one than theirs. Of what
// came twice, not at all or changed nothing is taken, and what differs may be mended: then nothing else is to be seen
// of it afterwards. No primary is lost in these upheavals, so that no region ever has a tail.
var amiss = []string{
	"stream does not continue the history held here", "cannot continue a subscriber's history",
	"history has a fork", "saved the tail that", "two histories of one reign", "nodes hold different things",
	"took the state of another node of the region", "is damaged",
}

// unbroken wants a node to have found nothing amiss.
func unbroken(n *localfleet.Node) error { return silentOf(n, amiss...) }

// conclude wants all nodes equal, everything acknowledged there, the watchers told the same, each region to follow whom
// it is to, and in no log a stack, or a word of a history that was not as it has to be.
func (l *levels) conclude(ctx context.Context) error {
	if err := l.settled(ctx); err != nil {
		return err
	}
	l.traffic.end()
	end, err := l.awaitEqual(ctx)
	if err != nil {
		return err
	}
	first := l.fleet.Regions[0]
	var held content
	for _, other := range l.fleet.Regions[1:] {
		if held, err = sameContents(ctx, first, other, l.traffic.prefix, end); err != nil {
			return err
		}
	}
	acked, err := checkAcknowledged(l.traffic.writes, held, nothingMissing)
	if err != nil {
		return err
	}
	events, err := l.watchers[first.Name].upTo(ctx, end)
	if err != nil {
		return err
	}
	again := 0
	for name, w := range l.watchers {
		others, err := w.upTo(ctx, end)
		if err != nil {
			return fmt.Errorf("watcher in %s: %w", name, err)
		}
		if !slices.Equal(events, others) {
			return fmt.Errorf("the watchers in %s and %s were told different events", first.Name, name)
		}
		again += w.resumptions()
	}
	l.line("%d operations on registers are linearizable; all %d acknowledged writes are in all regions, %d had "+
		"an error; each of %d watchers was told %d events, once and in order, in %d watches", l.checked, acked,
		failures(l.traffic.writes), len(l.watchers), len(events), again+len(l.watchers))
	l.line("%d connections between regions; upheavals: %v", l.fleet.Connections(), l.count)
	if err := l.checkHashes(ctx, end); err != nil {
		return err
	}
	for _, n := range l.fleet.Nodes() {
		if err := errors.Join(noStack(n), unbroken(n)); err != nil {
			return err
		}
	}
	if err := verified(ctx, l.run, patience); err != nil {
		return err
	}
	l.summarizeLogs()
	return nil
}
