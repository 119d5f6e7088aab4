package robustness

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
	"github.com/mimir-kv/mimir/replication"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// judgeRegion is the region, and the node, that writes down the history.
const judgeRegion = "judge"

// judge is a region of one node whose storage is the list of all commands.
type judge struct {
	address string
	node    *replication.MultiRegionReplicator
	history history
}

// newJudge returns one that listens but does not run.
func newJudge(t *testing.T) (*judge, net.Listener) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &judge{address: listener.Addr().String()}, listener
}

// start has the judge follow a fleet until the test ends.
func (j *judge) start(t *testing.T, f *fleet.Fleet, listener net.Listener) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	config := &replication.Config{
		NodeID: judgeRegion, RegionID: judgeRegion, PeerAddr: j.address, DataDir: t.TempDir(),
		Nodes: map[string]string{judgeRegion: j.address}, Regions: map[string][]string{},
		InitialPrimary: fleet.First, CheckpointBytes: -1, Logger: logger,
	}
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			config.Regions[r.Name] = append(config.Regions[r.Name], n.Config.ListenPeer)
		}
	}
	node, err := replication.NewMultiRegionReplicator(config, &j.history)
	if err != nil {
		t.Fatal(err)
	}
	peers, err := grpctransport.New(grpctransport.Options{
		Listener: listener, FleetID: replication.DefaultFleetID, NodeName: judgeRegion, Region: judgeRegion,
		Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	node.SetTransport(peers)
	t.Cleanup(func() {
		if err := node.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.node = node
}

// upTo returns all commands of the history up to a position.
func (j *judge) upTo(ctx context.Context, end replication.Position) ([][]byte, error) {
	if err := j.node.WaitPosition(ctx, end); err != nil {
		return nil, err
	}
	j.history.mu.Lock()
	defer j.history.mu.Unlock()
	return j.history.commands[:end], nil
}

// history is a replication.Storage that keeps the commands, in memory. It lives as long as its node.
type history struct {
	mu       sync.Mutex
	commands [][]byte
	meta     *replication.Metadata
}

var errOneLife = errors.New("the judge has one life, and follows from the first command on")

func (h *history) Load() (*replication.Metadata, error) { return h.meta, nil }

func (h *history) Apply(b *replication.Batch) (results [][]byte, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range b.Commands {
		h.commands = append(h.commands, append([]byte(nil), c.Data...))
	}
	h.meta = b.Metadata
	if b.WantResults {
		results = make([][]byte, len(b.Commands))
	}
	return results, nil
}

func (h *history) Begin(_ replication.Reign, meta *replication.Metadata) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meta = meta
	return nil
}

func (h *history) Sync() error                                    { return nil }
func (h *history) Snapshot() (replication.Snapshot, error)        { return nil, errOneLife }
func (h *history) Restore(io.Reader, *replication.Metadata) error { return errOneLife }
