package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// misuse is the phase in which everything that is asked must be refused.
type misuse struct{ *run }

// badInput is the phase of that name.
func (r *run) badInput(ctx context.Context) error {
	m := misuse{r}
	for _, part := range []func(context.Context) error{m.badCommands, m.badNodes, m.badRequests, m.crowd, m.fullDisk} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Exit statuses of the command line.
const (
	statusFailed = 1
	statusUsage  = 2
)

// refusal is a command that must be refused with one line.
type refusal struct {
	what      string
	arguments []string
	status    int
	says      string // part of the line
}

// refuse runs commands and checks how they end.
func (r misuse) refuse(ctx context.Context, refusals []refusal) error {
	for _, c := range refusals {
		status, out, errs, err := r.mimir(ctx, c.arguments...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		if status != c.status || strings.Contains(errs, "\n") || out != "" || !strings.HasPrefix(errs, "mimir: ") ||
			!strings.Contains(errs, c.says) {
			return fmt.Errorf("%s: wanted exit status %d and one line that says %q, got status %d and:\n%s%s", c.what,
				c.status, c.says, status, out, errs)
		}
		r.line("%s: status %d, %s", c.what, status, strings.ReplaceAll(errs, r.Dir, "DIR"))
	}
	return nil
}

// badCommands gives the running fleet orders that it must refuse.
func (r misuse) badCommands(ctx context.Context) error {
	endpoints := strings.Join(localfleet.Clients(r.fleet.Nodes()), ",")
	primary, secondary, err := r.primary(ctx)
	if err != nil {
		return err
	}
	return r.refuse(ctx, []refusal{
		{"switchover to an unknown region", []string{"switchover", "--to", "mars", "--endpoints", endpoints},
			statusFailed, `"mars"`},
		{"failover to an unknown region", []string{"failover", "--to", "mars", "--force", "--endpoints", endpoints},
			statusFailed, `"mars"`},
		{"failover without force", []string{"failover", "--to", secondary.Name, "--endpoints", endpoints},
			statusFailed, "force"},
		{"switchover to the primary", []string{"switchover", "--to", primary.Name, "--endpoints", endpoints},
			statusFailed, "primary"},
		{"an unknown tail", []string{"tail", "show", "none", "--endpoints", endpoints}, statusFailed, `no tail "none"`},
		{"nobody at the endpoint", []string{"status", "--endpoints", "127.0.0.1:1"},
			statusFailed, "no endpoint answered"},
		{"an unknown flag", []string{"status", "--fly"}, statusUsage, "--fly"},
	})
}

// badNodes starts nodes that must not run.
func (r misuse) badNodes(ctx context.Context) error {
	solo, err := r.startSolo(ctx, "solo", filepath.Join(r.Dir, "solo", "data"))
	if err != nil {
		return err
	}
	defer solo.Close()
	n := solo.Nodes()[0]
	ports := localfleet.AnyPorts()
	defer ports.Close()
	config := func(name string, change func(*localfleet.Config)) []string {
		c := n.Config
		place, err := localfleet.PlaceOn(ports, filepath.Join(r.Dir, name))
		if err != nil {
			return nil
		}
		c.ListenClient, c.ListenPeer, c.ListenHTTP, c.Nodes = place.Client, place.Peer, place.HTTP, nil
		change(&c)
		other := &localfleet.Node{Dir: filepath.Join(r.Dir, name), Config: c}
		if err := other.Save(); err != nil {
			return nil
		}
		return []string{"serve", "--config", other.ConfigPath()}
	}
	elsewhere := filepath.Join(r.Dir, "elsewhere")
	wrong := filepath.Join(r.Dir, "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("name: a\nregoin: us\n"), 0o644); err != nil {
		return err
	}
	err = r.refuse(ctx, []refusal{
		{"an unknown key", []string{"serve", "--config", wrong}, statusUsage, `unknown key "regoin"`},
		{"no such file", []string{"serve", "--config", filepath.Join(r.Dir, "none.yaml")}, statusUsage, "none.yaml"},
		{"a wrong value", config("value", func(c *localfleet.Config) { c.SegmentBytes = "many" }),
			statusUsage, `"many"`},
		{"an unknown primary", config("primary", func(c *localfleet.Config) { c.InitialPrimary = "mars" }),
			statusUsage, `"mars"`},
		{"a port in use", config("port", func(c *localfleet.Config) {
			c.DataDir, c.ListenClient = elsewhere, n.Config.ListenClient
		}), statusFailed, "in use"},
		{"a data directory in use", config("directory", func(*localfleet.Config) {}), statusFailed, "another process"},
	})
	if err != nil {
		return err
	}
	n.Stop()
	return r.refuse(ctx, []refusal{
		{"a data directory of another node", config("node", func(c *localfleet.Config) { c.Name = "other" }),
			statusFailed, "belongs to node " + n.Config.Name},
		{"a data directory of another region", config("region", func(c *localfleet.Config) {
			c.Region, c.InitialPrimary = "other", "other"
		}), statusFailed, "belongs to node " + n.Config.Name},
	})
}

// startSolo starts a region of one node with its data in a directory, and waits until it serves.
// What is to run before its command comes in front. The caller closes it.
func (r misuse) startSolo(ctx context.Context, region, dataDir string, before ...string) (*localfleet.Fleet, error) {
	f, err := localfleet.New(localfleet.Options{
		Dir: r.Dir, Command: append(before, r.Binary, "serve"), Regions: []string{region}, Nodes: 1,
	})
	if err != nil {
		return nil, err
	}
	n := f.Nodes()[0]
	n.Config.DataDir = dataDir
	n.Config.SegmentBytes, n.Config.MemTableBytes, n.Config.RetainBytes = "1MiB", "4MiB", "4MiB"
	n.Config.CompactBytes = "1MiB" // so that stores flush and compact all the time
	if err := n.Save(); err != nil {
		return nil, err
	}
	if err = errors.Join(n.Start(), r.awaitHealthy(ctx, n)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (r misuse) awaitHealthy(ctx context.Context, n *localfleet.Node) error {
	return r.await(ctx, n.Config.Name+" serves", func(ctx context.Context) string {
		node, err := ask(ctx, n)
		switch {
		case !n.Running():
			return "it ended"
		case err != nil:
			return err.Error()
		case !node.Healthy || !node.IsLeader:
			return "it does not lead: " + node.Problem
		}
		return ""
	})
}

const requestTimeout = 30 * time.Second
