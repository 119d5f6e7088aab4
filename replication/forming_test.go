package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// waitsFor checks that a node has no leader, for a while, and says for whom it waits.
func (f *testFleet) waitsFor(name, whom string) {
	f.t.Helper()
	for range 300 {
		time.Sleep(100 * time.Millisecond)
		h := f.nodes[name].Health()
		if h.LeaderRaftID != 0 || h.Term > 1 {
			f.t.Fatalf("%s heard %s, in term %d", name, h.LeaderID, h.Term)
		}
	}
	h := f.nodes[name].Health()
	if h.Healthy || !strings.Contains(h.Problem, "waits for "+whom+", which may hold what the region acknowledged") {
		f.t.Fatalf("%s says %q, healthy %t", name, h.Problem, h.Healthy)
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
			f.waitsFor(one, three)
			f.waitsFor(two, three)
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
		f.waitsFor("us-1", "us-3")
		f.kill("us-1") // it comes again, on what it left
		f.start("us-1")
		f.waitsFor("us-2", "us-3")
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
