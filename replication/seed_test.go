package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// sow makes the disk of a node that of a region which begins with the commands, and returns the ledger that has them.
func (f *testFleet) sow(name string, seed replication.Seed, commands []string) *ledger {
	f.t.Helper()
	l := &ledger{held: ledgerState{Commands: commands}}
	type describing = func(replication.Seed) (*replication.Metadata, error)
	err := replication.Sow(f.configOf(name), func(describe describing) error {
		meta, err := describe(seed)
		l.held.Meta = meta
		return err
	})
	if err != nil {
		f.t.Fatalf("sow %s: %v", name, err)
	}
	return l
}

// startWith is start with what a ledger holds already.
func (f *testFleet) startWith(name string, l *ledger) {
	f.t.Helper()
	n := f.nodes[name]
	n.ledger = l
	c := f.configOf(name)
	r, err := replication.NewMultiRegionReplicator(c, l)
	if err != nil {
		f.t.Fatal(err)
	}
	r.SetTransport(f.port(c))
	if err := r.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	n.MultiRegionReplicator = r
	n.up.Store(true)
}

// TestARegionBeginsWithAContent: two of three nodes are sown, the third and the other region come with empty disks. All
// have the content, and what is written then, as one history behind that of which the content is.
func TestARegionBeginsWithAContent(t *testing.T) {
	inBubble(t, map[string]int{"us": 3, "eu": 1}, func(f *testFleet) {
		f.stopAll()
		for _, name := range f.names() {
			f.nodes[name].disk = freshDisk()
		}
		seed := replication.Seed{Origin: [32]byte{1}, Epoch: 4, Position: 5}
		one, two := f.sow("us-1", seed, values(0, 5)), f.sow("us-2", seed, values(0, 5))
		if !one.equal(two) || one.held.Meta.Chain != two.held.Meta.Chain {
			t.Fatalf("one seed made two histories: %v, %v", one.held.Meta, two.held.Meta)
		}
		err := replication.Sow(f.configOf("us-1"), nil)
		if !errors.Is(err, replication.ErrNotEmpty) {
			t.Errorf("sown twice: %v", err)
		}
		f.startWith("us-1", one)
		f.startWith("us-2", two)
		f.start("us-3")
		f.start("eu-1")
		if r := f.put("eu-1", "c5"); r.Position != 6 || r.Epoch != 5 {
			t.Errorf("receipt %+v", r)
		}
		f.eventually(values(0, 6))
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu"); err != nil {
			t.Fatal(err)
		}
		f.put("us-3", "c6")
		f.eventually(values(0, 7))
	})
}

// TestARegionSownAlikeFollows: the other region has the content already, and takes no copy.
func TestARegionSownAlikeFollows(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.stopAll()
		for _, name := range f.names() {
			f.nodes[name].disk = freshDisk()
		}
		seed := replication.Seed{Origin: [32]byte{1}, Epoch: 1, Position: 5}
		us, eu := f.sow("us-1", seed, values(0, 5)), f.sow("eu-1", seed, values(0, 5))
		f.startWith("us-1", us)
		f.startWith("eu-1", eu)
		f.put("us-1", "c5")
		f.eventually(values(0, 6))
		if f.nodes["eu-1"].ledger.held.Reigns != nil {
			t.Error("a reign came behind the content")
		}
		if s := f.nodes["us-1"].Health().Slots; len(s) != 1 || s[0].Lost {
			t.Errorf("slots %+v", s)
		}
	})
}

// waitsWith waits until the node says so of itself, and checks that it heard nobody.
func (f *testFleet) waitsWith(name, text string) {
	f.t.Helper()
	for range 600 {
		h := f.nodes[name].Health()
		if h.LeaderRaftID != 0 {
			f.t.Fatalf("%s heard %s", name, h.LeaderID)
		}
		if strings.Contains(h.Problem, text) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Fatalf("%s says %q, not %q", name, f.nodes[name].Health().Problem, text)
}

// TestNodesSownWithDifferentThingsFormNoRegion, until they are sown alike; nor do those that are less than a majority.
func TestNodesSownWithDifferentThingsFormNoRegion(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.stopAll()
		f.empties("us-1", "us-2", "us-3")
		seed := replication.Seed{Origin: [32]byte{1}, Position: 5}
		other := replication.Seed{Origin: [32]byte{2}, Position: 5}
		f.startWith("us-1", f.sow("us-1", seed, values(0, 5)))
		f.start("us-2")
		f.waitsWith("us-2", "1 of 3 were restored (us-1), less than a majority: restore 2 alike")
		if _, err := f.nodes["us-2"].FormRegion(f.t.Context()); !errors.Is(err, replication.ErrRejected) {
			t.Errorf("formed without the content: %v", err)
		}
		f.start("us-3")
		f.waitsWith("us-3", "1 of 3 were restored (us-1), less than a majority: restore 2 alike")
		f.kill("us-3")
		f.empties("us-3")
		f.startWith("us-3", f.sow("us-3", other, values(10, 15)))
		for _, name := range f.names() {
			f.waitsWith(name, "restored of different things (us-1 / us-3)")
		}
		f.kill("us-3")
		f.empties("us-3")
		f.startWith("us-3", f.sow("us-3", seed, values(0, 5)))
		f.put("us-1", "c5")
		f.eventually(values(0, 6))
	})
}

// TestANodeThatIsSownAgainTakesNoPart: it has forgotten what it acknowledged, and the two that have not heard each
// other's write never take another in its place.
func TestANodeThatIsSownAgainTakesNoPart(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.stopAll()
		f.empties("us-1", "us-2", "us-3")
		seed := replication.Seed{Origin: [32]byte{1}, Position: 5}
		f.startWith("us-1", f.sow("us-1", seed, values(0, 5)))
		f.startWith("us-2", f.sow("us-2", seed, values(0, 5)))
		f.waitsWith("us-1", "was restored, and the node takes no part in its region")
		f.waitsWith("us-2", "waits for us-3, which may hold what the region acknowledged")
		f.startWith("us-3", f.sow("us-3", seed, values(0, 5)))
		f.put("us-1", "c5")
		f.eventually(values(0, 6))
		f.kill("us-3")
		f.put("us-1", "c6") // us-1 and us-2 have it
		f.kill("us-1")
		f.kill("us-2")
		f.empties("us-2")
		f.startWith("us-2", f.sow("us-2", seed, values(0, 5)))
		f.waitsWith("us-2", "waits for us-1, us-3, which may hold")
		f.startWith("us-3", f.nodes["us-3"].ledger)
		time.Sleep(10 * time.Second)
		if err := f.nodes["us-2"].Err(); !errors.Is(err, replication.ErrDiskLost) ||
			!strings.Contains(err.Error(), "was restored, and this region lives already") {
			t.Fatalf("goes on, with %v", err)
		}
		if h := f.nodes["us-3"].Health(); h.LeaderRaftID != 0 {
			t.Fatalf("us-3 heard %s", h.LeaderID)
		}
		f.kill("us-2")
		f.startWith("us-1", f.nodes["us-1"].ledger) // it has what was acknowledged
		f.put("us-1", "c7")
		delete(f.nodes, "us-2")
		f.eventually(values(0, 8))
	})
}

// TestADirectoryThatIsHalfSownStartsNoNode, whenever its process was killed, and is not sown over.
func TestADirectoryThatIsHalfSownStartsNoNode(t *testing.T) {
	inBubble(t, map[string]int{"us": 1}, func(f *testFleet) {
		f.stopAll()
		f.empties("us-1")
		type describing = func(replication.Seed) (*replication.Metadata, error)
		var killed []*vfs.MemFS
		snap := func() { killed = append(killed, f.nodes["us-1"].disk.CrashClone(vfs.CrashCloneCfg{})) }
		err := replication.Sow(f.configOf("us-1"), func(describe describing) error {
			snap()
			_, err := describe(replication.Seed{Position: 5})
			snap()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, disk := range killed {
			f.nodes["us-1"].disk = disk
			r, err := replication.NewMultiRegionReplicator(f.configOf("us-1"), &ledger{})
			if err != nil {
				t.Fatal(err)
			}
			r.SetTransport(f.network.Node("us-1"))
			if err := r.Start(f.t.Context()); !errors.Is(err, replication.ErrHalfSown) {
				t.Errorf("killed %d: starts with %v", i, err)
			}
			_ = r.Shutdown()
			if err := replication.Sow(f.configOf("us-1"), nil); !errors.Is(err, replication.ErrHalfSown) {
				t.Errorf("killed %d: sown over: %v", i, err)
			}
		}
		f.empties("us-1")
		f.start("us-1")
	})
}
