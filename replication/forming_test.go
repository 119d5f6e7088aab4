package replication_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// waitFor checks that nodes have no leader, for a while, and say for whom they wait.
func (f *testFleet) waitFor(whom string, names ...string) {
	f.t.Helper()
	f.waitLong(whom, 30*time.Second, names...)
}

func (f *testFleet) waitLong(whom string, while time.Duration, names ...string) {
	f.t.Helper()
	for range while / (100 * time.Millisecond) {
		time.Sleep(100 * time.Millisecond)
		for _, name := range names {
			h := f.nodes[name].Health()
			if h.LeaderRaftID != 0 || h.Term > 1 {
				f.t.Fatalf("%s heard %s, in term %d", name, h.LeaderID, h.Term)
			}
		}
	}
	for _, name := range names {
		h := f.nodes[name].Health()
		waits := "waits for " + whom + ", which may hold what the region acknowledged"
		if h.Healthy || !strings.Contains(h.Problem, waits) {
			f.t.Fatalf("%s says %q, healthy %t", name, h.Problem, h.Healthy)
		}
	}
}

// empties puts an empty disk in the place of a node's.
func (f *testFleet) empties(names ...string) {
	for _, name := range names {
		f.nodes[name].disk = vfs.NewCrashableMem()
	}
}

// TestEmptyNodesDoNotFormARegionWithoutTheOthers, which may hold what it acknowledged: they wait for those, and end
// when one of them says so. All together form it, and join what the fleet has.
func TestEmptyNodesDoNotFormARegionWithoutTheOthers(t *testing.T) {
	for _, where := range []string{"us", "eu"} {
		inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
			f.put("us-1", "c0")
			f.eventually(values(0, 1))
			one, two, three := where+"-1", where+"-2", where+"-3"
			for _, name := range f.regions[where] {
				f.kill(name)
			}
			f.empties(one, two)
			f.start(one)
			f.start(two)
			f.waitFor(three, one, two)
			f.start(three)
			time.Sleep(5 * time.Second)
			for _, name := range []string{one, two} {
				if err := f.nodes[name].Err(); !errors.Is(err, replication.ErrDiskLost) ||
					!strings.Contains(err.Error(), three+" knows "+name+" as a member with data") {
					f.t.Errorf("%s runs beside the one that knows it: %v", name, err)
				}
			}
			for _, name := range f.regions[where] {
				f.kill(name)
			}
			f.empties(f.regions[where]...)
			if where == "us" {
				if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
					f.t.Fatal(err)
				}
			}
			for _, name := range f.regions[where] {
				f.start(name)
			}
			f.put("eu-1", "c1")
			f.eventually(values(0, 2))
		})
	}
}

// TestARegionIsFormedByAllItsNodes, of which one comes late, and one dies as soon as it takes part.
func TestARegionIsFormedByAllItsNodes(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-2", "c0")
		f.stopAll()
		f.empties("us-1", "us-2", "us-3")
		f.start("us-1")
		f.start("us-2")
		f.waitFor("us-3", "us-1", "us-2")
		f.kill("us-1") // it comes again, on what it left
		f.start("us-1")
		f.waitFor("us-3", "us-1", "us-2")
		f.start("us-3")
		for f.nodes["us-1"].Health().Problem != "no leader was heard since the node started" {
			time.Sleep(time.Millisecond)
		}
		f.kill("us-1") // what it knows of the others' disks is on its own
		f.network.Cut("us-2", "us-3")
		f.start("us-1")
		f.put("us-1", "c0")
		f.network.HealAll()
		f.put("us-3", "c1")
		f.eventually(values(0, 2))
	})
}

// TestOnTheFirstDayAMajorityOfEachRegionIsEnough. Who was late joins with an empty disk. Afterwards it is not the first
// day any more.
func TestOnTheFirstDayAMajorityOfEachRegionIsEnough(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		f.stopAll()
		f.empties(f.names()...)
		for _, name := range []string{"us-1", "us-2"} {
			f.start(name)
		}
		f.waitLong("us-3", 7*time.Second, "us-1", "us-2")
		if p := f.nodes["us-1"].Health().Problem; !strings.Contains(p,
			"a majority of region eu, of which 0 of 3 nodes say that they know of no history") {
			f.t.Errorf("says %q", p)
		}
		for _, name := range []string{"eu-1", "eu-2"} {
			f.start(name)
		}
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.start("us-3")
		f.start("eu-3")
		f.eventually(values(0, 1))
		f.kill("us-1")
		f.kill("eu-1")
		if _, err := f.nodes["eu-2"].Switchover(f.t.Context(), "eu"); err != nil {
			f.t.Fatal(err)
		}
		f.put("us-3", "c1")
		for _, name := range []string{"us-2", "us-3"} {
			f.kill(name)
		}
		f.empties("us-1", "us-2")
		f.start("us-1")
		f.start("us-2")
		f.waitLong("us-3", 7*time.Second, "us-1", "us-2")
		if p := f.nodes["us-1"].Health().Problem; !strings.Contains(p,
			"this is not the first day of the fleet: node eu-2 of region eu knows of epoch 2") {
			f.t.Errorf("says %q", p)
		}
	})
}

// startsNot starts a node, and checks that it ends, at once or later, since its data is of an older life of the region.
func (f *testFleet) startsNot(name string, meanwhile func()) {
	f.t.Helper()
	r, err := replication.NewMultiRegionReplicator(f.configOf(name), &ledger{})
	if err != nil {
		f.t.Fatal(err)
	}
	r.SetTransport(f.port(f.configOf(name)))
	err = r.Start(f.t.Context())
	meanwhile()
	for range 600 {
		if err != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
		err = r.Err()
	}
	if !errors.Is(err, replication.ErrDiskLost) || !strings.Contains(err.Error(), "was formed without "+name) {
		f.t.Errorf("%s: %v", name, err)
	}
	_ = r.Shutdown()
}

// TestARegionIsFormedByOrderWithoutANode: what that acknowledged is not part of it. It is not heard with its data, not
// even before it knows, and joins with an empty disk.
func TestARegionIsFormedByOrderWithoutANode(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		for _, name := range []string{"c0", "old", "older"} {
			f.put("us-1", name)
		}
		if r, err := f.nodes["us-1"].FormRegion(f.t.Context()); r != nil || err != nil {
			f.t.Errorf("a node that takes part formed %+v: %v", r, err)
		}
		f.stopAll()
		f.empties("us-1", "us-2")
		f.start("us-1")
		if _, err := f.nodes["us-1"].FormRegion(f.t.Context()); !errors.Is(err, replication.ErrRejected) ||
			!strings.Contains(err.Error(), "1 of 3 nodes are up, and empty, less than a majority") {
			f.t.Errorf("formed alone: %v", err)
		}
		f.start("us-2")
		f.waitLong("us-3", 7*time.Second, "us-1", "us-2")
		if p := f.nodes["us-1"].Health().Problem; !strings.Contains(p, "mimir fleet init --primary REGION") {
			f.t.Errorf("says %q", p)
		}
		r, err := f.nodes["us-1"].FormRegion(f.t.Context())
		if err != nil || !slices.Equal(r.Nodes, []string{"us-1", "us-2"}) || !slices.Equal(r.Left, []string{"us-3"}) {
			f.t.Fatalf("formed %+v: %v", r, err)
		}
		f.put("us-2", "c0")
		older := f.nodes["us-3"].disk
		f.nodes["us-3"].disk = older.CrashClone(vfs.CrashCloneCfg{})
		f.network.Isolate("us-3")
		f.startsNot("us-3", func() { // at first nobody tells it
			time.Sleep(10 * time.Second)
			f.kill("us-1") // us-2 would need it
			f.network.HealAll()
			f.start("us-1")
		})
		f.put("us-1", "c1")
		f.nodes["us-3"].disk = older
		f.startsNot("us-3", func() {})
		f.empties("us-3")
		f.start("us-3")
		f.eventually(values(0, 2))
		f.kill("us-2")
		f.put("us-3", "c2")
		f.kill("us-3") // and again, on what it has now
		f.start("us-3")
		f.put("us-3", "c3")
		f.start("us-2")
		f.eventually(values(0, 4))
	})
}

// TestANodeOfAnOlderLifeDoesNotSayWhatIsAgreed: it came to the region after that was formed, so that its disk does not
// say with whom, and is away while the others lose their disks and form the region anew. When it is back, what it knows
// to be agreed keeps nobody of the new region from leading.
func TestANodeOfAnOlderLifeDoesNotSayWhatIsAgreed(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		leader := f.leaderOf("us")
		if err := f.add(leader, "us-4", false); err != nil {
			t.Fatal(err)
		}
		f.regions["us"] = append(f.regions["us"], "us-4")
		f.join("us", "us-4")
		if err := f.remove(leader, "us-3"); err != nil {
			t.Fatal(err)
		}
		f.stopsItself("us-3")
		f.stop("us-3")
		f.regions["us"] = []string{"us-1", "us-2", "us-4"}
		for _, v := range values(0, 100) {
			f.put("us-1", v)
		}
		f.eventually(values(0, 100))
		for _, name := range f.regions["us"] {
			f.kill(name)
		}
		f.empties("us-1", "us-2")
		f.start("us-1")
		f.start("us-2")
		if r, err := f.nodes["us-1"].FormRegion(f.t.Context()); err != nil || !slices.Equal(r.Left, []string{"us-4"}) {
			t.Fatalf("formed %+v: %v", r, err)
		}
		f.put("us-2", "c0")
		f.regions["us"] = []string{"us-1", "us-2"}
		f.network.Isolate("us-4") // at first nobody tells it
		f.startsNot("us-4", func() {
			time.Sleep(10 * time.Second)
			f.network.HealAll()
		})
		for range 2 { // neither leads alone, and neither is started again
			f.network.Cut("us-1", "us-2")
			time.Sleep(10 * time.Second)
			f.network.HealAll()
			f.put("us-1", "after")
		}
		f.eventually([]string{"c0", "after", "after"})
	})
}

// TestWhoJoinsKnowsHowTheRegionWasFormed, as those do who formed it: they take each other for nodes of one life of it.
func TestWhoJoinsKnowsHowTheRegionWasFormed(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		if err := f.add(f.leaderOf("us"), "us-4", false); err != nil {
			t.Fatal(err)
		}
		f.regions["us"] = append(f.regions["us"], "us-4")
		f.join("us", "us-4")
		f.put("us-4", "c0")
		f.eventually(values(0, 1))
		var formed []map[uint64]string
		for _, name := range []string{"us-1", "us-4"} {
			file, err := durable.ReadFile(pebblefs.New(f.nodes[name].disk), "/data/IDENTITY")
			if err != nil {
				t.Fatal(err)
			}
			var says struct{ Formed map[uint64]string }
			if err := json.Unmarshal(file, &says); err != nil {
				t.Fatal(err)
			}
			formed = append(formed, says.Formed)
		}
		if len(formed[0]) != 3 || !maps.Equal(formed[0], formed[1]) {
			t.Errorf("us-1 was there when it was formed with %v, and us-4 knows %v", formed[0], formed[1])
		}
		f.stop("us-4") // and it starts with that
		f.start("us-4")
		f.put("us-4", "c1")
		f.eventually(values(0, 2))
	})
}

// formsAlone starts a node that is down with an empty disk, and with a file that names no other one of its region: it
// forms that anew by itself.
func (f *testFleet) formsAlone(region, name string) {
	f.t.Helper()
	f.empties(name)
	all := f.regions[region]
	f.regions[region] = []string{name}
	f.start(name)
	f.regions[region] = all
}

// leadsItself checks that the nodes of another life of its region, which know where a node is, come to leave it alone:
// it leads what it formed, and goes on.
func (f *testFleet) leadsItself(name string) {
	f.t.Helper()
	time.Sleep(20 * time.Second)
	term := f.nodes[name].Health().Term
	for range 300 {
		time.Sleep(100 * time.Millisecond)
		if h := f.nodes[name].Health(); h.LeaderID != name || h.Term != term {
			f.t.Fatalf("%s is led by %q in term %d, and led itself in term %d", name, h.LeaderID, h.Term, term)
		}
	}
}

// TestANodeThatFormsThePrimaryAloneProposesNothing: asked itself, it does not say that the primary is lost, as long as
// another region follows that.
func TestANodeThatFormsThePrimaryAloneProposesNothing(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually([]string{"c0"})
		f.kill("us-3")
		f.formsAlone("us", "us-3")
		f.leadsItself("us-3")
		f.fleetSays("us-3", "us", "region eu follows others of that name, which may take writes")
		if p := regionOf(f.nodes["us-3"].Fleet(f.t.Context()), "us").Problem; strings.Contains(p, "failover") {
			f.t.Errorf("it proposes to leave a primary that is well: %s", p)
		}
		f.put("us-1", "c1")
		for _, name := range []string{"us-1", "us-2"} {
			f.kill(name)
		}
		f.fleetSays("us-3", "us", "has forgotten it")
	})
}

// TestANodeThatFormsItsRegionAloneEndsNobody: it has lost its disk, and its file names no other node. Those who are of
// the region as it was are not removed by what it has agreed on with itself, and go on.
func TestANodeThatFormsItsRegionAloneEndsNobody(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually([]string{"c0"})
		if _, err := f.nodes["eu-1"].Failover(f.t.Context(), "eu", true); err != nil {
			f.t.Fatal(err)
		}
		f.put("eu-1", "c1")
		f.eventually([]string{"c0", "c1"})
		for _, name := range f.regions["us"] {
			f.kill(name)
		}
		f.empties("us-3")
		all := f.regions["us"]
		f.regions["us"] = []string{"us-3"}
		f.start("us-3")
		var written []string
		for i := range 60 {
			written = append(written, fmt.Sprint("d", i))
			f.put("eu-1", written[i])
		}
		f.eventually(append([]string{"c0", "c1"}, written...))
		f.regions["us"] = all
		f.start("us-1")
		f.start("us-2")
		time.Sleep(10 * time.Second)
		for _, name := range []string{"us-1", "us-2"} {
			if err := f.nodes[name].Err(); err != nil {
				f.t.Errorf("%s ended: %v", name, err)
			}
			if h := f.nodes[name].Health(); h.LeaderID != "us-1" && h.LeaderID != "us-2" {
				f.t.Errorf("%s is led by %q", name, h.LeaderID)
			}
		}
		for _, name := range []string{"us-1", "us-2", "eu-1"} {
			r := regionOf(f.nodes[name].Fleet(f.t.Context()), "us")
			if r.Leader != "us-1" && r.Leader != "us-2" || r.Voters != 3 || r.Reachable != 2 ||
				!strings.Contains(r.Problem, "WRONG: us-3 is of another life of this region") {
				f.t.Errorf("%s shows us with leader %q and %d of %d nodes: %s", name, r.Leader, r.Reachable, r.Voters,
					r.Problem)
			}
		}
		if p := f.nodes["eu-1"].Health().Peers[0]; p.Address != "us-1" && p.Address != "us-2" {
			f.t.Errorf("eu-1 takes another node for the leader of us: %+v", p)
		}
	})
}
