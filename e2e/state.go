package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

const askTimeout = 5 * time.Second

// ask returns what a node says of itself.
func ask(ctx context.Context, n *localfleet.Node) (*admin.Node, error) {
	client, err := admin.NewClient([]string{n.Config.ListenClient}, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return client.Node(ctx)
}

// fleetOf returns what a node knows of the fleet.
func fleetOf(ctx context.Context, n *localfleet.Node) (*replication.FleetStatus, error) {
	client, err := admin.NewClient([]string{n.Config.ListenClient}, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return client.Fleet(ctx)
}

// askAll returns what every node says of itself, by name. missing names one that does not answer.
func (r *run) askAll(ctx context.Context) (nodes map[string]*admin.Node, missing string) {
	nodes = map[string]*admin.Node{}
	for _, n := range r.fleet.Nodes() {
		node, err := ask(ctx, n)
		if err != nil {
			return nil, n.Config.Name + " does not answer"
		}
		nodes[n.Config.Name] = node
	}
	return nodes, ""
}

// awaitServing waits until all nodes are healthy and one region is primary.
func (r *run) awaitServing(ctx context.Context) error {
	return r.await(ctx, "the fleet serves", func(ctx context.Context) string {
		nodes, missing := r.askAll(ctx)
		primaries := map[string]bool{}
		for name, n := range nodes {
			if !n.Healthy {
				missing = name + ": " + n.Problem
			}
			primaries[n.Primary] = true
		}
		if missing == "" && (len(primaries) != 1 || primaries[""]) {
			missing = "no agreement on the primary"
		}
		return missing
	})
}

// primary returns the primary region and the other one.
func (r *run) primary(ctx context.Context) (primary, secondary *localfleet.Region, err error) {
	err = r.await(ctx, "one region is primary", func(ctx context.Context) string {
		for i, region := range r.fleet.Regions {
			for _, n := range region.Nodes {
				if node, err := ask(ctx, n); err == nil && node.IsLeader && node.Role == replication.RolePrimary {
					primary, secondary = region, r.fleet.Regions[1-i]
					return ""
				}
			}
		}
		return "no leader of a primary region answers"
	})
	return primary, secondary, err
}

// elections returns how often the nodes came to know a leader that they had not known before, all together: as often as
// before, and nobody was without one meanwhile.
func (r *run) elections(ctx context.Context) (count uint64, err error) {
	err = r.await(ctx, "all nodes answer", func(ctx context.Context) string {
		nodes, missing := r.askAll(ctx)
		count = 0
		for _, n := range nodes {
			count += n.LeaderChanges
		}
		return missing
	})
	return count, err
}

// leader waits until the running nodes of a region have a leader.
func (r *run) leader(ctx context.Context, region *localfleet.Region) (leader *localfleet.Node, err error) {
	err = r.await(ctx, "region "+region.Name+" has a leader", func(ctx context.Context) string {
		for _, n := range region.Nodes {
			if node, err := ask(ctx, n); err == nil && node.IsLeader {
				leader = n
				return ""
			}
		}
		return "none of its nodes leads"
	})
	return leader, err
}

// awaitEqual waits until every node of every region is at the same position with the same chain, and returns its
// revision.
func (r *run) awaitEqual(ctx context.Context) (revision int64, err error) {
	err = r.await(ctx, "all nodes are equal", func(ctx context.Context) string {
		nodes, missing := r.askAll(ctx)
		var first *admin.Node
		for _, n := range r.fleet.Nodes() {
			node := nodes[n.Config.Name]
			if missing != "" {
				return missing
			}
			if first == nil {
				first = node
			}
			if !node.Healthy {
				return fmt.Sprintf("%s: %s", n.Config.Name, node.Problem)
			}
			if node.Chain != first.Chain || node.Position != first.Position || node.Revision != first.Revision ||
				node.Epoch != first.Epoch {
				return fmt.Sprintf("%s is at epoch %d, position %d, revision %d, "+
					"%s at epoch %d, position %d, revision %d",
					n.Config.Name, node.Epoch, node.Position, node.Revision,
					first.NodeID, first.Epoch, first.Position, first.Revision)
			}
		}
		revision = int64(first.Revision)
		return ""
	})
	return revision, err
}

// mimir runs a command line of the binary to its end.
func (r *run) mimir(ctx context.Context, arguments ...string) (status int, out, errs string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return runBinary(ctx, r.Binary, arguments...)
}

func runBinary(ctx context.Context, binary string, arguments ...string) (status int, out, errs string, err error) {
	c := exec.CommandContext(ctx, binary, arguments...)
	c.Env = localfleet.Environment()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err = c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return c.ProcessState.ExitCode(), stdout.String(), strings.TrimSpace(stderr.String()), err
}

// operate runs a command that must succeed and decodes the JSON that it prints.
func (r *run) operate(ctx context.Context, answer any, arguments ...string) error {
	arguments = append(arguments, "-o", "json", "--endpoints", strings.Join(localfleet.Clients(r.fleet.Nodes()), ","))
	status, out, errs, err := r.mimir(ctx, arguments...)
	if err != nil || status != 0 {
		return errors.Join(fmt.Errorf("mimir %s: exit status %d: %s", strings.Join(arguments, " "), status, errs), err)
	}
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		return fmt.Errorf("mimir %s printed no JSON: %w", strings.Join(arguments, " "), err)
	}
	return nil
}
