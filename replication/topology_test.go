package replication_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// growing is a fleet of us and eu, in whose configuration no other region is. What shape does to each node comes on
// top.
func growing(t *testing.T, shape func(c *replication.Config), body func(f *growingFleet)) {
	shaped(t, map[string]int{"us": 1, "eu": 1}, func(c *replication.Config) {
		for name := range c.Regions {
			if name != "us" && (name != "eu" || c.RegionID != "us") {
				delete(c.Regions, name)
			}
		}
		if c.RegionID != "us" && c.RegionID != "eu" {
			c.FleetExists = true
		}
		if shape != nil {
			shape(c)
		}
	}, func(f *testFleet) { body(&growingFleet{testFleet: f}) })
}

type growingFleet struct {
	*testFleet
	written int
}

// write writes n values at a node.
func (f *growingFleet) write(node string, n int) {
	f.t.Helper()
	for range n {
		f.put(node, fmt.Sprintf("c%d", f.written))
		f.written++
	}
}

// everywhere waits until every running node has everything.
func (f *growingFleet) everywhere() {
	f.t.Helper()
	f.eventually(values(0, f.written))
}

// found starts the nodes of a region that the others do not know, with empty disks.
func (f *growingFleet) found(region string, nodes int) {
	f.regions[region] = nil
	for i := range nodes {
		name := fmt.Sprintf("%s-%d", region, i+1)
		f.regions[region] = append(f.regions[region], name)
		f.nodes[name] = &testNode{region: region, disk: freshDisk()}
	}
	for _, name := range f.regions[region] {
		f.start(name)
	}
}

// forget drops a region of which no node runs.
func (f *growingFleet) forget(region string) {
	for _, name := range f.regions[region] {
		delete(f.nodes, name)
	}
	delete(f.regions, region)
}

func (f *growingFleet) add(at, region string) *replication.RegionChange {
	f.t.Helper()
	c, err := f.nodes[at].Topology().Add(f.t.Context(), replication.RegionAddition{
		Region: region, Peers: f.regions[region],
	})
	if err != nil {
		f.t.Fatalf("add %s at %s: %v", region, at, err)
	}
	return c
}

func (f *growingFleet) remove(at string, r replication.RegionRemoval) *replication.RegionChange {
	f.t.Helper()
	c, err := f.nodes[at].Topology().Remove(f.t.Context(), r)
	if err != nil {
		f.t.Fatalf("remove %s at %s: %v", r.Region, at, err)
	}
	return c
}

// knows waits until a node goes by a roster of that number, with these regions.
func (f *growingFleet) knows(node string, number uint64, regions ...string) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s := f.nodes[node].Fleet(f.t.Context())
		var names []string
		for _, r := range s.Regions {
			names = append(names, r.Name)
		}
		if s.Roster != nil && s.Roster.Number == number && slices.Equal(names, regions) {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s knows %v by roster %+v, want %v by roster %d", node, names, s.Roster, regions, number)
		}
	}
}

// ends waits until a node has stopped itself, and returns why.
func (f *growingFleet) ends(name string) string {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if h := f.nodes[name].Health(); h.State == replication.StateClosed {
			_ = f.nodes[name].Shutdown()
			f.nodes[name].up.Store(false)
			return h.Problem
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s still runs", name)
		}
	}
}

// slotsOf returns the regions of which a node has a slot.
func (f *growingFleet) slotsOf(node string) (regions []string) {
	for _, s := range f.nodes[node].Health().Slots {
		regions = append(regions, s.Region)
	}
	return regions
}

// underLoad calls do while somebody writes at a node: some writes before, and some after.
func (f *growingFleet) underLoad(node string, do func()) {
	f.t.Helper()
	end, ended, wrote := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
			ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
			_, err := f.nodes[node].Propose(ctx, []*replication.Command{{Data: fmt.Appendf(nil, "c%d", f.written)}})
			cancel()
			if err != nil {
				f.t.Errorf("write %d: %v", f.written, err)
				return
			}
			f.written++
			select {
			case wrote <- struct{}{}:
			default:
			}
		}
	}()
	some := func() {
		for range 20 {
			select {
			case <-wrote:
			case <-ended:
			}
		}
	}
	some()
	do()
	some()
	close(end)
	<-ended
}

// staysOut starts a node of a region that was removed once more, which ends at once, or as soon as it has read its log.
func (f *growingFleet) staysOut(name string) {
	f.t.Helper()
	r, err := replication.NewMultiRegionReplicator(f.configOf(name), &ledger{})
	if err != nil {
		f.t.Fatal(err)
	}
	r.SetTransport(f.port(f.configOf(name)))
	err = r.Start(f.t.Context())
	for deadline := time.Now().Add(time.Minute); err == nil; time.Sleep(time.Millisecond) {
		if r.Health().State == replication.StateClosed {
			err = r.Apply(&replication.Command{Data: []byte("x")}, time.Second) // says why
		} else if time.Now().After(deadline) {
			f.t.Fatalf("%s runs again", name)
		}
	}
	if !errors.Is(err, replication.ErrRemoved) {
		f.t.Errorf("%s ended with %v", name, err)
	}
	_ = r.Shutdown()
}

// TestRegionsComeAndGoUnderLoad, without a file of any node changed: one is added while writes go on, everything is
// restarted, the primary moves, the region is removed while writes go on, and comes again under its name with an empty
// disk.
func TestRegionsComeAndGoUnderLoad(t *testing.T) {
	growing(t, nil, func(f *growingFleet) {
		f.write("us-1", 10)
		f.found("ap", 1)
		f.underLoad("us-1", func() {
			c := f.add("eu-1", "ap")
			if !c.Written || c.Number != 1 || !slices.Equal(c.Regions, []string{"ap", "eu", "us"}) {
				t.Errorf("added: %+v", c)
			}
		})
		f.everywhere()
		for _, node := range f.names() {
			f.knows(node, 1, "ap", "eu", "us")
		}
		in3 := func(value string) (*replication.Receipt, error) {
			return f.nodes["us-1"].Propose(f.t.Context(), []*replication.Command{{Data: []byte(value)}},
				replication.WithRegions(3))
		}
		if r, err := in3(fmt.Sprintf("c%d", f.written)); err != nil || r.Regions != 3 {
			t.Errorf("a write in three regions: %+v, %v", r, err)
		}
		f.written++

		for _, node := range f.names() {
			f.kill(node)
		}
		f.startAll()
		f.write("ap-1", 5)
		f.everywhere()
		if _, err := f.nodes["ap-1"].Switchover(f.t.Context(), "eu"); err != nil {
			t.Fatal(err)
		}
		f.write("ap-1", 5)
		f.everywhere()
		for _, node := range f.names() {
			f.knows(node, 1, "ap", "eu", "us")
		}

		f.underLoad("us-1", func() {
			c := f.remove("us-1", replication.RegionRemoval{Region: "ap"})
			if !c.Written || c.Number != 2 || c.Epoch != 2 {
				t.Errorf("removed: %+v", c)
			}
		})
		if why := f.ends("ap-1"); !strings.Contains(why, "eu took region ap out of the fleet (roster 2 of epoch 2)") {
			t.Errorf("it says %q", why)
		}
		f.everywhere()
		for _, node := range []string{"us-1", "eu-1"} {
			f.knows(node, 2, "eu", "us")
			if slots := f.slotsOf(node); slices.Contains(slots, "ap") {
				t.Errorf("%s has slots of %v", node, slots)
			}
		}
		if _, err := in3("x"); !errors.Is(err, replication.ErrUnknownRegion) {
			t.Errorf("a write in three of two regions: %v", err)
		}
		f.staysOut("ap-1")

		f.forget("ap")
		f.found("ap", 1)
		f.underLoad("us-1", func() { f.add("us-1", "ap") })
		f.everywhere()
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "ap"); err != nil {
			t.Fatal(err)
		}
		f.write("us-1", 5)
		f.everywhere()
		for _, node := range f.names() {
			f.knows(node, 3, "ap", "eu", "us")
		}
	})
}

// TestWhichRegionsCannotComeOrGo, and nothing has changed then.
func TestWhichRegionsCannotComeOrGo(t *testing.T) {
	growing(t, nil, func(f *growingFleet) {
		f.write("us-1", 3)
		f.everywhere()
		add := func(region string, peers ...string) error {
			_, err := f.nodes["eu-1"].Topology().Add(f.t.Context(),
				replication.RegionAddition{Region: region, Peers: peers})
			return err
		}
		remove := func(region string) error {
			_, err := f.nodes["eu-1"].Topology().Remove(f.t.Context(), replication.RegionRemoval{Region: region})
			return err
		}
		f.found("ap", 1)
		for want, err := range map[string]error{
			"is the primary of this fleet":                     add("us", "us-1"),
			"nobody knows where region \"ap\" is":              add("ap"),
			"is no name of a region":                           add("witness/w", "w"),
			"a node of region \"ap\" answers":                  add("sa", "ap-1"),
			"region sa cannot be added: no node of it answers": add("sa", "sa-1"),
			"region us is the primary: switch over first":      remove("us"),
			"unknown region: \"ap\"; the fleet has eu, us":     remove("ap"),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		c, err := f.nodes["eu-1"].Topology().Add(f.t.Context(),
			replication.RegionAddition{Region: "ap", Peers: []string{"ap-1"}, Try: true})
		if err != nil || c.Written || len(c.Steps) != 3 {
			t.Errorf("tried: %+v, %v", c, err)
		}
		if s := f.nodes["us-1"].Fleet(f.t.Context()); s.Roster != nil {
			t.Errorf("then there is roster %+v", s.Roster)
		}
		f.add("us-1", "ap")
		if c := f.add("us-1", "ap"); c.Written || c.Number != 1 {
			t.Errorf("added again: %+v", c)
		}
		f.everywhere()
		f.kill("ap-1")
		f.write("us-1", 1)
		f.until("that ap does not answer is known", func() bool {
			return slices.ContainsFunc(f.nodes["us-1"].Fleet(f.t.Context()).Regions,
				func(r replication.RegionStatus) bool {
					return r.Name == "ap" && !r.Heard
				})
		})
		if err := remove("ap"); !errors.Is(err, replication.ErrRejected) || !strings.Contains(err.Error(), "--gone") {
			t.Errorf("a region that does not answer is removed: %v", err)
		}
	})
}

// TestARegionWithAnotherHistoryIsNotAdded: it founded a fleet of its own.
func TestARegionWithAnotherHistoryIsNotAdded(t *testing.T) {
	growing(t, func(c *replication.Config) {
		if c.RegionID == "ap" {
			c.Regions, c.InitialPrimary, c.FleetExists = nil, "ap", false
		}
	}, func(f *growingFleet) {
		f.write("us-1", 3)
		f.everywhere()
		f.found("ap", 1)
		f.put("ap-1", "its own")
		_, err := f.nodes["us-1"].Topology().Add(f.t.Context(),
			replication.RegionAddition{Region: "ap", Peers: []string{"ap-1"}})
		if !errors.Is(err, replication.ErrRejected) || !strings.Contains(err.Error(), "a history of its own") {
			t.Errorf("added: %v", err)
		}
		f.stop("ap-1")
		f.forget("ap")
	})
}

// TestADeadRegionIsRemoved, and holds no log any more. When it comes back, it hears of that, although no other region
// asks it.
func TestADeadRegionIsRemoved(t *testing.T) {
	small := func(c *replication.Config) { c.RetainBytes, c.CompactBytes, c.SegmentBytes = 1<<30, 16<<10, 8<<10 }
	growing(t, small, func(f *growingFleet) {
		f.write("us-1", 3)
		f.found("ap", 1)
		f.add("us-1", "ap")
		f.everywhere()
		f.kill("ap-1")
		for i := range 60 {
			f.put("us-1", fmt.Sprintf("%d %s", i, strings.Repeat("x", 4<<10)))
		}
		kept := f.nodes["us-1"].Health().LogBytes
		f.remove("eu-1", replication.RegionRemoval{Region: "ap", Gone: true})
		for i := range 30 {
			f.put("us-1", fmt.Sprintf("%d %s", i, strings.Repeat("y", 4<<10)))
		}
		for deadline := time.Now().Add(time.Minute); f.nodes["us-1"].Health().LogBytes > kept/2; {
			if time.Sleep(100 * time.Millisecond); time.Now().After(deadline) {
				t.Fatalf("%d bytes of log are kept, it was %d", f.nodes["us-1"].Health().LogBytes, kept)
			}
			f.put("us-1", strings.Repeat("z", 4<<10)) // log is released as it grows
		}
		f.start("ap-1")
		if why := f.ends("ap-1"); !strings.Contains(why, "took region ap out of the fleet") {
			t.Errorf("it says %q", why)
		}
	})
}

// TestEveryNodeOfARemovedRegionEnds: those that agree on it, and one that was away and has nobody to agree with.
func TestEveryNodeOfARemovedRegionEnds(t *testing.T) {
	growing(t, nil, func(f *growingFleet) {
		f.write("us-1", 3)
		f.found("ap", 3)
		f.add("us-1", "ap")
		f.everywhere()
		f.knows("ap-3", 1, "ap", "eu", "us")
		f.kill("ap-3")
		f.remove("us-1", replication.RegionRemoval{Region: "ap"})
		f.ends("ap-1")
		f.ends("ap-2")
		f.staysOut("ap-3")
	})
}

// TestNoRegionComesBesideAnOlderNode, and the error says what to do.
func TestNoRegionComesBesideAnOlderNode(t *testing.T) {
	growing(t, func(c *replication.Config) {
		if c.RegionID == "eu" {
			c.EntryLevel = new(timeline.LevelRoster - 1)
		}
	}, func(f *growingFleet) {
		f.write("us-1", 3)
		f.everywhere()
		if _, err := f.nodes["us-1"].Topology().Remove(f.t.Context(),
			replication.RegionRemoval{Region: "eu", Try: true}); err != nil {
			t.Errorf("the region of the older node cannot go: %v", err)
		}
		f.found("ap", 1)
		_, err := f.nodes["us-1"].Topology().Add(f.t.Context(),
			replication.RegionAddition{Region: "ap", Peers: []string{"ap-1"}})
		if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(),
			"a node of region eu is too old: upgrade all nodes first") {
			t.Errorf("added: %v", err)
		}
		f.everywhere2("us-1", "eu-1")
	})
}

// everywhere2 waits until these nodes have everything.
func (f *growingFleet) everywhere2(nodes ...string) {
	f.t.Helper()
	for _, n := range nodes {
		want := values(0, f.written)
		for deadline := time.Now().Add(time.Minute); !slices.Equal(f.nodes[n].ledger.commands(), want); {
			if time.Sleep(50 * time.Millisecond); time.Now().After(deadline) {
				f.t.Fatalf("%s has %d commands", n, len(f.nodes[n].ledger.commands()))
			}
		}
	}
}

// TestTheVoteOfARegionGoesWithIt, and where the others could not decide without it, it stays.
func TestTheVoteOfARegionGoesWithIt(t *testing.T) {
	inSmallest(t, func(s *smallest) {
		f := &growingFleet{testFleet: s.testFleet, written: 1}
		before := f.adapt
		f.adapt = func(c *replication.Config) {
			before(c)
			if delete(c.Regions, "ap"); c.RegionID == "ap" {
				delete(c.Regions, "eu")
				c.FleetExists = true
			}
		}
		f.found("ap", 1)
		f.add("us-1", "ap")
		f.everywhere()
		if voters := s.changes(replication.VoteChange{Add: "ap"}); len(voters) != 4 {
			t.Errorf("vote: %v", voters)
		}
		f.holds("us")
		f.remove("eu-1", replication.RegionRemoval{Region: "ap"})
		if v := f.nodes["us-1"].Voting().Status(); len(v.Voters) != 3 {
			t.Errorf("then vote %+v", v.Voters)
		}
		f.ends("ap-1")
		f.forget("ap")
		f.holds("us")
		_, err := f.nodes["us-1"].Topology().Remove(f.t.Context(), replication.RegionRemoval{Region: "eu"})
		if !errors.Is(err, replication.ErrArgument) || !strings.Contains(err.Error(),
			"region eu votes, and its vote cannot be taken") || !strings.Contains(err.Error(), "add a witness") {
			t.Errorf("the last voter but one is removed: %v", err)
		}
		f.write("us-1", 1)
		f.everywhere()
	})
}
