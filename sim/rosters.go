package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// orderRegions has somebody order where nodes of a region are, some of them, and whom one is to follow: the primary
// writes a roster with it. At times the fleet is whole before, as it has to be for the first order.
func (x *faults) orderRegions(ctx context.Context) {
	if x.random.IntN(2) == 0 {
		x.fleet.network.HealAll()
		x.noteCut(time.Now())
		x.fleet.startAll(ctx)
		x.wait(quiet)
	}
	p, regions := x.someone(), slices.Clone(x.fleet.plan.regions)
	if p == nil {
		return
	}
	x.random.Shuffle(len(regions), func(i, j int) { regions[i], regions[j] = regions[j], regions[i] })
	few := x.random.IntN(2) == 0
	sourcing := replication.RegionSourcing{Region: pick(x.random, regions...),
		Source: pick(x.random, append(slices.Clone(regions), "", "")...)}
	x.background(ctx, 20*time.Second, func(ctx context.Context) {
		for _, region := range regions { // that of the primary is refused
			order := replication.RegionAddition{Region: region, Peers: x.places(region, few)}
			c, err := p.Topology().Add(ctx, order)
			for errors.Is(err, replication.ErrNotReady) && ctx.Err() == nil { // it has changed nothing
				time.Sleep(time.Second)
				c, err = p.Topology().Add(ctx, order)
			}
			x.tell("order by %s that %s is at %v: %+v, %v", p.NodeID(), region, order.Peers, c, err)
			x.noteIf(injectRosters, err == nil && c.Written)
		}
		c, err := p.Topology().Follow(ctx, sourcing) // those that would follow each other are refused
		for errors.Is(err, replication.ErrNotReady) && ctx.Err() == nil {
			time.Sleep(time.Second)
			c, err = p.Topology().Follow(ctx, sourcing)
		}
		x.tell("order by %s that %s follows %q: %+v, %v", p.NodeID(), sourcing.Region, sourcing.Source, c, err)
	})
}

// places returns where nodes of a region are, all or a few.
func (x *faults) places(region string, few bool) (addrs []string) {
	for _, m := range x.fleet.members {
		if m.region == region {
			addrs = append(addrs, m.name)
		}
	}
	if few {
		addrs = addrs[:1]
	}
	return addrs
}

// sameRoster waits until all nodes go by one roster, with all regions, which is of the reign that they are in unless a
// node is too old for that; or by none, if nobody has one.
func (e *evidence) sameRoster(ctx context.Context) {
	why := ""
	for deadline := time.Now().Add(convergence); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		e.fleet.tend(ctx)
		if why = e.fleet.rostersDiffer(ctx); why == "" {
			return
		}
	}
	e.fleet.trace.wrong("15", "the nodes do not go by one roster within %v: %s", convergence, why)
}

func (f *fleet) rostersDiffer(ctx context.Context) string {
	here, why := f.here()
	older := func(than timeline.Level) bool { // one that waits to be added answers, too
		return slices.ContainsFunc(f.members, func(m *member) bool {
			return m.level < than && (m.current() != nil || slices.Contains(here, m))
		})
	}
	if older(timeline.LevelRoster) {
		return why // its region cannot take the roster, and says so
	}
	ranks := !older(timeline.LevelRanks)
	var first *replication.FleetStatus
	for _, m := range here {
		p := m.current()
		if p == nil {
			return m.name + " does not run"
		}
		s := p.Fleet(ctx)
		var regions []string
		for i := range s.Regions {
			regions = append(regions, s.Regions[i].Name)
		}
		if first == nil {
			first = s
		}
		switch has, want := s.Roster, first.Roster; {
		case (has == nil) != (want == nil), has != nil && *has != *want:
			return fmt.Sprintf("%s goes by %+v, %s by %+v", m.name, has, here[0].name, want)
		case has != nil && ranks && (!has.Ranked || uint64(has.Epoch) != uint64(s.Epoch)):
			return fmt.Sprintf("%s goes by %+v in epoch %d", m.name, has, s.Epoch)
		case !slices.Equal(slices.Sorted(slices.Values(f.plan.regions)), regions):
			return fmt.Sprintf("%s knows the regions %v", m.name, regions)
		}
	}
	return why
}
