package replication_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// sink is a storage that keeps nothing but where it is: what is measured is the way to it.
type sink struct{ ledger }

func (s *sink) Apply(b *replication.Batch) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held.Meta = b.Metadata
	return make([][]byte, len(b.Commands)), nil
}

// BenchmarkPropose writes commands of 128 bytes from many goroutines, on a disk and a network in memory: to the leader
// itself, and from a node of another region.
func BenchmarkPropose(b *testing.B) {
	network := memory.NewNetwork(clock.Real, 1)
	nodes := map[string]*replication.MultiRegionReplicator{}
	for _, region := range []string{"us", "eu"} {
		other := map[string]string{"us": "eu", "eu": "us"}[region]
		c := &replication.Config{
			NodeID: region, RegionID: region, DataDir: "/data", FS: pebblefs.New(vfs.NewMem()), PeerAddr: region,
			Nodes: map[string]string{region: region}, Regions: map[string][]string{other: {other}},
			InitialPrimary: "us",
			Logger:         slog.New(slog.DiscardHandler),
		}
		n, err := replication.NewMultiRegionReplicator(c, &sink{})
		if err != nil {
			b.Fatal(err)
		}
		n.SetTransport(network.Node(region))
		if err := n.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		defer n.Shutdown()
		nodes[region] = n
	}
	for _, region := range []string{"us", "eu"} {
		n, name := nodes[region], map[string]string{"us": "leader", "eu": "forwarded"}[region]
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/writers=%d", name, writers), func(b *testing.B) {
				ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
				defer cancel()
				command := []*replication.Command{{Data: make([]byte, 128)}}
				if _, err := n.Propose(ctx, command); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetParallelism(writers)
				b.ResetTimer()
				if writers == 1 {
					for b.Loop() {
						if _, err := n.Propose(ctx, command); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if _, err := n.Propose(ctx, command); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
