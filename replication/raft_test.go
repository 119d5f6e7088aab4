package replication_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// One region alone: three nodes elect, write through any of them, read, change who they are, and survive their leader.
func TestARegionAlone(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(clock.Real, 1)
		names := []string{"us-1", "us-2", "us-3"}
		nodes := map[string]*replication.RaftReplicator{}
		ledgers := map[string]*ledger{}
		for _, name := range names {
			c := alone()
			c.NodeID, c.PeerAddr, c.FS = name, name, pebblefs.New(vfs.NewMem())
			c.Nodes = map[string]string{"us-1": "us-1", "us-2": "us-2", "us-3": "us-3"}
			ledgers[name] = &ledger{}
			r, err := replication.NewRaftReplicator(c, ledgers[name])
			if err != nil {
				t.Fatal(err)
			}
			r.SetTransport(network.Node(name))
			if err := r.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			nodes[name] = r
		}
		for _, name := range names {
			if err := nodes[name].WaitForLeader(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := nodes[name].Apply(&replication.Command{Data: []byte(name)}, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		leader := nodes["us-1"].LeaderID()
		if err := nodes[leader].Shutdown(); err != nil {
			t.Fatal(err)
		}
		delete(nodes, leader)
		for name, r := range nodes {
			for r.LeaderID() == leader || r.LeaderID() == "" {
				time.Sleep(10 * time.Millisecond) // in the bubble's time
			}
			receipt, err := r.Propose(t.Context(), []*replication.Command{{Data: []byte("a")}, {Data: []byte("b")}})
			if err != nil || len(receipt.Results) != 2 {
				t.Fatalf("%s: %+v, %v", name, receipt, err)
			}
			if err := r.WaitReceipt(t.Context(), receipt); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := r.ReadBarrier(t.Context(), replication.Linearizable); err != nil {
				t.Fatal(err)
			}
			if h := r.Health(); h.Mode != replication.ModeRaft || !h.Healthy || h.Role != replication.RolePrimary ||
				len(h.Peers) != 0 {
				t.Errorf("%s: %+v", name, h)
			}
			if members, err := r.Members(t.Context()); err != nil || len(members) != 3 {
				t.Errorf("%s: %+v, %v", name, members, err)
			}
		}
		var last *ledger
		for name, r := range nodes {
			if err := r.ReadBarrier(t.Context(), replication.Linearizable); err != nil {
				t.Fatal(err)
			}
			if l := ledgers[name]; last != nil && !last.equal(l) || len(l.commands()) != 7 {
				t.Errorf("%s holds %q", name, l.commands())
			}
			last = ledgers[name]
		}
		for name, r := range nodes {
			if err := r.Shutdown(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
