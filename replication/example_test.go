package replication_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// words is a whole storage engine: it counts words, in memory. The library keeps snapshots of it and the log on disk.
type words struct {
	Count map[string]int
	Meta  *replication.Metadata
}

func (w *words) Load() (*replication.Metadata, error) { return w.Meta, nil }

func (w *words) Apply(b *replication.Batch) (results [][]byte, err error) {
	for _, c := range b.Commands {
		w.Count[string(c.Data)]++
		results = append(results, fmt.Append(nil, w.Count[string(c.Data)]))
	}
	w.Meta = b.Metadata
	return results, nil
}

func (w *words) Begin(_ replication.Reign, m *replication.Metadata) error { w.Meta = m; return nil }
func (w *words) Sync() error                                              { return replication.ErrVolatile }

func (w *words) Snapshot() (replication.Snapshot, error) {
	content, err := json.Marshal(w)
	return replication.SnapshotBytes(content), err
}

func (w *words) Restore(in io.Reader, m *replication.Metadata) error {
	restored := words{Count: map[string]int{}}
	err := json.NewDecoder(in).Decode(&restored)
	if restored.Meta = cmp.Or(m, restored.Meta); err == nil {
		*w = restored
	}
	return err
}

// Two regions of one node each, in one process. A real fleet uses package transport/grpc in place of the network in
// memory.
func Example() {
	network := memory.NewNetwork(clock.Real, 1)
	regions := map[string][]string{"eu": {"eu-1"}, "us": {"us-1"}}
	nodes := map[string]*replication.MultiRegionReplicator{}
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		name, others := regions[region][0], maps.Clone(regions)
		delete(others, region)
		config := replication.Config{
			NodeID: name, RegionID: region, PeerAddr: name, Nodes: map[string]string{name: name}, Regions: others,
			InitialPrimary: "us", DataDir: "/" + name, FS: pebblefs.New(vfs.NewMem()), Logger: quiet,
		}
		nodes[region], _ = replication.NewMultiRegionReplicator(&config, &words{Count: map[string]int{}})
		nodes[region].SetTransport(network.Node(name))
		if err := nodes[region].Start(context.Background()); err != nil {
			panic(err)
		}
		defer nodes[region].Shutdown()
	}
	for word := range strings.FieldsSeq("to be or not to be") {
		if err := nodes["eu"].Apply(
			&replication.Command{Data: []byte(word)}, time.Minute,
		); err != nil { // forwarded to us
			panic(err)
		}
	}
	report, _ := nodes["us"].Switchover(context.Background(), "eu")
	// forwarded to eu
	receipt, _ := nodes["us"].Propose(context.Background(), []*replication.Command{{Data: []byte("be")}})
	fmt.Printf("%s is primary after position %d; \"be\" counts %s\n", report.To, report.Position, receipt.Results[0])
	// Output: eu is primary after position 6; "be" counts 3
}
