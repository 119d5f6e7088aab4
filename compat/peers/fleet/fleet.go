package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// patience is how long a state is waited for, and askPatience for how long one node.
const (
	patience    = 2 * time.Minute
	askPatience = 5 * time.Second
)

// The regions of a fleet; the first one is the initial primary.
const (
	First  = "us"
	Second = "eu"
)

// Options of a fleet.
type Options struct {
	Nodes int           // of each region
	Delay time.Duration // between the regions, one way
	Flags []string      // of mimir serve, on every node

	// Votes has the primary move by itself, by votes of the regions and of a witness, and lose nothing: every write is
	// in both regions before it is acknowledged.
	Votes bool

	// Prepare, if set, is what is done to each node of the first region before it starts for the first time.
	Prepare func(*localfleet.Node) error

	// Others are regions that the test brings itself, and where they listen.
	Others map[string]string
}

// Fleet is two regions of real processes.
type Fleet struct {
	*localfleet.Fleet
}

// Start starts a new fleet that ends with the test. [Fleet.AwaitServing] waits for it.
func Start(t testing.TB, o Options) *Fleet {
	t.Helper()
	layout := localfleet.Options{
		Dir: t.TempDir(), Command: append([]string{*binary, "serve"}, o.Flags...),
		Regions: []string{First, Second}, Nodes: o.Nodes, Delay: o.Delay,
	}
	if o.Votes {
		layout.Witness, layout.MaxLoss = []string{*binary, "witness"}, new(int)
	}
	f, err := localfleet.New(layout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	for _, n := range f.Nodes() {
		if n.Config.Regions == nil {
			n.Config.Regions = map[string][]string{}
		}
		for name, address := range o.Others {
			n.Config.Regions[name] = []string{address}
		}
		if err := n.Save(); err != nil {
			t.Fatal(err)
		}
	}
	if o.Prepare != nil {
		for _, n := range f.Regions[0].Nodes {
			if err := o.Prepare(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	nodes := f.Nodes()
	if f.Witness != nil {
		t.Cleanup(f.Witness.Kill)
		nodes = append(nodes, f.Witness)
	}
	if err := localfleet.Start(nodes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, n := range nodes {
			t.Logf("%s: %s", n.Config.Name, n.LastWords())
		}
	})
	return &Fleet{f}
}

// Endpoints are the addresses of all nodes for clients, those of the first region first.
func (f *Fleet) Endpoints() []string { return localfleet.Clients(f.Nodes()) }

// AwaitServing waits until all nodes are healthy and agree on a primary, which it returns with the other region.
func (f *Fleet) AwaitServing(ctx context.Context) (primary, secondary *localfleet.Region, err error) {
	err = await(ctx, func() error {
		nodes, err := f.askAll(ctx)
		if err != nil {
			return err
		}
		primaries := map[string]bool{}
		for name, n := range nodes {
			if !n.Healthy {
				return fmt.Errorf("%s: %s", name, n.Problem)
			}
			primaries[n.Primary] = true
		}
		if len(primaries) != 1 || primaries[""] {
			return fmt.Errorf("primaries are %q", slices.Sorted(maps.Keys(primaries)))
		}
		primary, secondary = f.Regions[0], f.Regions[1]
		if primaries[secondary.Name] {
			primary, secondary = secondary, primary
		}
		return nil
	})
	return primary, secondary, err
}

// AwaitEqual waits until all nodes have the same history, and returns its last position.
func (f *Fleet) AwaitEqual(ctx context.Context) (end replication.Position, err error) {
	err = await(ctx, func() error {
		nodes, err := f.askAll(ctx)
		if err != nil {
			return err
		}
		first := nodes[f.Nodes()[0].Config.Name]
		for name, n := range nodes {
			if n.Chain != first.Chain || n.Position != first.Position || n.Epoch != first.Epoch {
				return fmt.Errorf("%s is at position %d of epoch %d, %s at %d of %d", name, n.Position, n.Epoch,
					first.NodeID, first.Position, first.Epoch)
			}
		}
		end = first.Position
		return nil
	})
	return end, err
}

// Leader waits until a region has a leader.
func (f *Fleet) Leader(ctx context.Context, r *localfleet.Region) (leader *localfleet.Node, err error) {
	err = await(ctx, func() error {
		for _, n := range r.Nodes {
			if status, err := ask(ctx, n); err == nil && status.IsLeader {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("nobody leads %s", r.Name)
	})
	return leader, err
}

// Switchover makes a region the primary.
func (f *Fleet) Switchover(ctx context.Context, to *localfleet.Region) error {
	client, err := admin.NewClient(f.Endpoints(), nil)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Switchover(ctx, to.Name)
	return err
}

// Failover makes a region the primary without the other one.
func (f *Fleet) Failover(ctx context.Context, to *localfleet.Region) (*replication.MoveReport, error) {
	client, err := admin.NewClient(localfleet.Clients(to.Nodes), nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Failover(ctx, to.Name, true)
}

// AwaitPrimary waits until the nodes of a region say that it is the primary.
func (f *Fleet) AwaitPrimary(ctx context.Context, r *localfleet.Region) error {
	return await(ctx, func() error {
		for _, n := range r.Nodes {
			status, err := ask(ctx, n)
			if err != nil {
				return err
			}
			if status.Primary != r.Name || !status.Healthy {
				return fmt.Errorf("%s takes %q for the primary: %s", n.Config.Name, status.Primary, status.Problem)
			}
		}
		return nil
	})
}

// Tails calls visit with each write of the rescue files that a region has: each node has what it had of it.
func (f *Fleet) Tails(ctx context.Context, r *localfleet.Region, visit func(*admin.Write) error) error {
	for _, n := range r.Nodes {
		client, err := admin.NewClient([]string{n.Config.ListenClient}, nil)
		if err != nil {
			return err
		}
		defer client.Close()
		tails, err := client.Tails(ctx)
		if err != nil {
			return err
		}
		for _, t := range tails {
			if t.Damaged != "" {
				return fmt.Errorf("%s: %s", t.Name, t.Damaged)
			}
			if err := client.ReadTail(ctx, t.Name, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Fleet) askAll(ctx context.Context) (map[string]*admin.Node, error) {
	nodes := map[string]*admin.Node{}
	for _, n := range f.Nodes() {
		status, err := ask(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Config.Name, err)
		}
		nodes[n.Config.Name] = status
	}
	return nodes, nil
}

// ask returns what a node says of itself.
func ask(ctx context.Context, n *localfleet.Node) (*admin.Node, error) {
	client, err := admin.NewClient([]string{n.Config.ListenClient}, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	return client.Node(ctx)
}

// await tries until it works, and returns why it did not in the end.
func await(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", patience, err)
		case <-poll.C:
		}
	}
}
