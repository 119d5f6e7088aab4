package replication_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// file is the addresses in the configuration file of one node: its own, and those of the others as far as its file was
// brought up to date.
type file map[string]string

// refile has every node of f started with the addresses of its file; nodes without one are at their name.
func (f *testFleet) refile(files map[string]file) {
	f.adapt = func(c *replication.Config) {
		addresses := files[c.NodeID]
		at := func(name string) string {
			if addr, ok := addresses[name]; ok {
				return addr
			}
			return name
		}
		c.PeerAddr = at(c.NodeID)
		for name := range c.Nodes {
			c.Nodes[name] = at(name)
		}
		for region, names := range c.Regions {
			c.Regions[region] = nil
			for _, name := range names {
				c.Regions[region] = append(c.Regions[region], at(name))
			}
		}
	}
}

// movedTo is a file in which nodes have other addresses.
func movedTo(where string, names ...string) file {
	addresses := file{}
	for _, name := range names {
		addresses[name] = where + name
	}
	return addresses
}

// All nodes of both regions are restarted elsewhere. The files of us say where everybody is, those of eu where eu is:
// what they say of us is of before.
func TestAWholeFleetMoves(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.published(map[string]string{"us-1": "us-1", "us-2": "us-2", "us-3": "us-3"})
		f.published(map[string]string{"eu-1": "eu-1", "eu-2": "eu-2", "eu-3": "eu-3"})
		f.stopAll()
		files := map[string]file{}
		for _, name := range f.regions["us"] {
			files[name] = movedTo("there-", f.names()...)
		}
		for _, name := range f.regions["eu"] {
			files[name] = movedTo("there-", f.regions["eu"]...)
		}
		f.refile(files)
		f.startAll()
		f.put("us-1", "c1")
		f.put("eu-1", "c2")
		f.eventually(values(0, 3))
		f.published(map[string]string{"us-1": "there-us-1", "us-2": "there-us-2", "us-3": "there-us-3"})
	})
}

// published waits until every running node of a region lists the others where they are.
func (f *testFleet) published(want map[string]string) {
	f.t.Helper()
	var listed map[string]string
	defer func() {
		if f.t.Failed() {
			f.t.Logf("listed: %v", listed)
		}
	}()
	f.within(30*time.Second, fmt.Sprint("published: ", want), func() bool {
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if !f.nodes[name].up.Load() {
				continue
			}
			members, err := f.nodes[name].Members(f.t.Context())
			if err != nil {
				return false
			}
			listed = map[string]string{}
			for _, m := range members {
				listed[m.Name] = m.PeerAddr
			}
			for node, addr := range want {
				if listed[node] != addr {
					return false
				}
			}
		}
		return true
	})
}

// One node moves, and only its own file says so; then another one, whose file is as old as the move of the first;
// until no configured address of the region is left anywhere else.
func TestNodesMoveOneByOne(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		files := map[string]file{}
		f.refile(files)
		want := map[string]string{"us-1": "us-1", "us-2": "us-2", "us-3": "us-3"}
		for i, name := range f.regions["us"] {
			f.stop(name)
			files[name] = movedTo("there-", name)
			want[name] = "there-" + name
			f.start(name)
			f.put(name, fmt.Sprintf("c%d", i+1))
			f.eventually(values(0, i+2))
			f.published(want)
		}
		// And a region that finds nobody where its file says, with all nodes of it restarted at once.
		for _, name := range f.regions["us"] {
			f.stop(name)
		}
		for _, name := range f.regions["us"] {
			f.start(name)
		}
		f.put("us-2", "c4")
		f.eventually(values(0, 5))
		f.stop("eu-1")
		f.start("eu-1")
		f.put("us-2", "c5")
		f.eventually(values(0, 6))
	})
}

// Two nodes change places: at the address of each there is somebody, but another one.
func TestNodesChangePlaces(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		f.stop("us-1")
		f.stop("us-2")
		swapped := file{"us-1": "us-2", "us-2": "us-1"}
		f.refile(map[string]file{"us-1": swapped, "us-2": swapped})
		f.start("us-1")
		f.start("us-2")
		f.put("us-3", "c1")
		f.eventually(values(0, 2))
		f.published(map[string]string{"us-1": "us-2", "us-2": "us-1", "us-3": "us-3"})
	})
}

// An operator's word holds until the node's own next one, and does not cut off a node that is not there yet.
func TestAMemberIsUpdated(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		leader, name := f.leaderOf("us"), f.followersOf("us")[0]
		id := f.idOf(leader, name)
		if err := f.nodes[name].UpdateMember(f.t.Context(), id, "there-"+name); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"us-1": "us-1", "us-2": "us-2", "us-3": "us-3"}
		want[name] = "there-" + name
		f.published(want)
		time.Sleep(20 * time.Second)
		f.published(want)
		f.put(name, "c1")
		f.eventually(values(0, 2))
		for _, place := range []string{"there-", ""} { // where he said, and back
			f.stop(name)
			f.refile(map[string]file{name: {name: place + name}})
			f.start(name)
			want[name] = place + name
			f.published(want)
			f.put(name, "c2")
			f.within(time.Minute, "all have it", func() bool { return len(f.nodes[name].ledger.commands()) >= 3 })
		}
	})
}
