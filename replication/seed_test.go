package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

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
	r.SetTransport(f.network.Node(c.PeerAddr))
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

// TestANodeSownWithSomethingElseStops at the first write, and has not answered for it.
func TestANodeSownWithSomethingElseStops(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.stopAll()
		for _, name := range f.names() {
			f.nodes[name].disk = freshDisk()
		}
		seed := replication.Seed{Origin: [32]byte{1}, Position: 5}
		other := replication.Seed{Origin: [32]byte{2}, Position: 5}
		f.startWith("us-1", f.sow("us-1", seed, values(0, 5)))
		f.startWith("us-2", f.sow("us-2", seed, values(0, 5)))
		f.put("us-1", "c5")
		f.startWith("us-3", f.sow("us-3", other, values(10, 15)))
		select {
		case <-f.nodes["us-3"].Stopped():
		case <-time.After(time.Minute):
			t.Fatal("a node with another content goes on")
		}
		if err := f.nodes["us-3"].Err(); !strings.Contains(err.Error(), "chain") {
			t.Errorf("stopped with %v", err)
		}
		f.nodes["us-3"].up.Store(false)
		if err := f.nodes["us-3"].Shutdown(); err != nil {
			t.Error(err)
		}
		f.put("us-1", "c6")
		f.eventually(values(0, 7))
	})
}
