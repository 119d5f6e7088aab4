package bolt

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// Two regions of three nodes count what is written anywhere, move the primary, and know it all when every one of them
// is started again.
func TestTwoRegionsSurviveARestart(t *testing.T) {
	f := &fleet{
		t: t, dir: t.TempDir(),
		regions: map[string][]string{"us": {"us-1", "us-2", "us-3"}, "eu": {"eu-1", "eu-2", "eu-3"}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f.start(ctx)
	for _, name := range []string{"us-1", "eu-1", "eu-2"} {
		if err := f.nodes[name].Apply(&replication.Command{Data: []byte("mimir")}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.nodes["us-2"].Switchover(ctx, "eu"); err != nil {
		t.Fatal(err)
	}
	f.stop()
	f.start(ctx)
	defer f.stop()
	receipt, err := f.nodes["us-3"].Propose(ctx, []*replication.Command{{Data: []byte("mimir")}})
	if err != nil || string(receipt.Results[0]) != "4" {
		t.Fatalf("%+v, %v", receipt, err)
	}
	for name, node := range f.nodes {
		if err := node.ReadBarrier(ctx, replication.Linearizable); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n, err := f.stores[name].Count("mimir"); err != nil || n != 4 {
			t.Errorf("%s counts %d, %v", name, n, err)
		}
		if !node.Health().Healthy {
			t.Errorf("%s: %+v", name, node.Health())
		}
	}
	if !f.nodes["eu-1"].IsPrimaryRegion() {
		t.Error("eu is not the primary any more")
	}
}

type fleet struct {
	t       *testing.T
	dir     string
	regions map[string][]string
	nodes   map[string]*replication.MultiRegionReplicator
	stores  map[string]*Store
}

func (f *fleet) start(ctx context.Context) {
	f.t.Helper()
	network := memory.NewNetwork(clock.Real, 1)
	f.nodes, f.stores = map[string]*replication.MultiRegionReplicator{}, map[string]*Store{}
	for region, names := range f.regions {
		for _, name := range names {
			store, err := Open(filepath.Join(f.dir, name, "store"))
			if err != nil {
				f.t.Fatal(err)
			}
			node, err := replication.NewMultiRegionReplicator(f.config(region, name), store)
			if err != nil {
				f.t.Fatal(err)
			}
			node.SetTransport(network.Node(name))
			if err := node.Start(ctx); err != nil {
				f.t.Fatal(err)
			}
			f.nodes[name], f.stores[name] = node, store
		}
	}
}

func (f *fleet) config(region, name string) *replication.Config {
	c := &replication.Config{
		NodeID: name, RegionID: region, PeerAddr: name, DataDir: filepath.Join(f.dir, name, "replication"),
		Nodes: map[string]string{}, Regions: map[string][]string{}, InitialPrimary: "us",
		SegmentBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	}
	for other, names := range f.regions {
		if other != region {
			c.Regions[other] = names
			continue
		}
		for _, n := range names {
			c.Nodes[n] = n
		}
	}
	return c
}

func (f *fleet) stop() {
	for name, node := range f.nodes {
		if err := node.Shutdown(); err != nil {
			f.t.Error(fmt.Errorf("%s: %w", name, err))
		}
		if err := f.stores[name].Close(); err != nil {
			f.t.Error(fmt.Errorf("%s: %w", name, err))
		}
	}
}
