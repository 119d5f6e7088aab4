package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/cmd/mimir/dev"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

func newDev(hurry <-chan struct{}) *cobra.Command {
	o := dev.Options{Dir: devDir}
	withWitness, console := false, false
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole fleet on this machine",
		Long: "Run a whole fleet on this machine, each node a process of its own, until Ctrl-C. DIR/fleet.json says\n" +
			"where everything is. Started again on the same directory it goes on with the same data and\n" +
			"addresses. Each node's directory has its log, and the config.yaml with which mimir serve starts it\n" +
			"again by hand. With mimir dev break and heal nodes, regions and links fail and come back, to watch\n" +
			"what the fleet makes of it.",
		Example: "  mimir dev --regions us,eu --nodes 1 --witness --console\n  mimir dev break region us",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkDev(c, &o); err != nil {
				return err
			}
			executable, err := os.Executable()
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			if saved := dev.HasWitness(o.Dir); withWitness || saved {
				o.Witness = []string{executable, "witness"}
			}
			o.Serve, o.Ready, o.Out, o.Called = []string{executable, "serve"}, fleetReady, out, invocation()
			o.OnReady = func(f *dev.Fleet, took time.Duration) {
				introduce(out, &o, f, took)
				if console {
					openConsole(out, f)
				}
			}
			return dev.Run(c.Context(), o, hurry)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Regions, "regions", nil,
		"names of the regions, the first one primary (default "+strings.Join(dev.DefaultRegions, ",")+")")
	f.IntVar(&o.Nodes, "nodes", 0, fmt.Sprintf("nodes of each region (default %d)", dev.DefaultNodes))
	c.PersistentFlags().StringVar(&o.Dir, "data-dir", o.Dir, "directory of everything")
	f.BoolVar(&withWitness, "witness", false, "with a witness, so that the primary moves by itself")
	f.BoolVar(&console, "console", false, "open the page on which the fleet is seen, in a browser")
	f.DurationVar(&o.WANDelay, "wan-delay", 0, "delay between regions, one way")
	c.AddCommand(newDevBreak(&o.Dir), newDevHeal(&o.Dir))
	return c
}

func checkDev(c *cobra.Command, o *dev.Options) error {
	seen := map[string]bool{}
	for _, name := range o.Regions {
		if name == "" || strings.ContainsAny(name, "/\\ ") || seen[name] {
			return fmt.Errorf("%w: --regions: %q is not a name, or there twice", errUsage, name)
		}
		seen[name] = true
	}
	if c.Flags().Changed("nodes") && (o.Nodes < 1 || o.Nodes > 7 || o.Nodes%2 == 0) {
		return fmt.Errorf("%w: --nodes %d: a region has 1, 3, 5 or 7", errUsage, o.Nodes)
	}
	if o.WANDelay < 0 {
		return fmt.Errorf("%w: --wan-delay %s is negative", errUsage, o.WANDelay)
	}
	return nil
}

// fleetReady says what is missing until every region has a leader, one region is primary, the others follow it, every
// node answers a linearizable read, and all are heard over the links.
func fleetReady(ctx context.Context, f *dev.Fleet, unheard string) string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	primary := ""
	for _, r := range f.Regions {
		leader, problem := regionLeader(ctx, &r)
		switch {
		case leader == nil:
			return problem
		case leader.Role == replication.RolePrimary:
			primary = r.Name
		case leader.Lag.Seconds < 0:
			return "region " + r.Name + " does not follow yet"
		}
	}
	if primary == "" {
		return "no region is primary"
	}
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			if err := readBarrier(ctx, n.Client); err != nil {
				return n.Name + ": " + err.Error()
			}
		}
	}
	return unheard
}

// regionLeader asks every node of a region.
func regionLeader(ctx context.Context, r *dev.Region) (leader *admin.Node, problem string) {
	problem = "region " + r.Name + " has no leader"
	for _, n := range r.Nodes {
		client, err := admin.NewClient([]string{n.Client}, nil)
		if err != nil {
			return nil, err.Error()
		}
		node, err := client.Node(ctx)
		client.Close()
		if err != nil {
			return nil, n.Name + " does not answer"
		}
		if node.IsLeader {
			leader = node
		}
	}
	return leader, problem
}

func readBarrier(ctx context.Context, addr string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health", nil)
	if err != nil {
		return err
	}
	answer, err := dev.Staying.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s", answer.Status)
	}
	return nil
}

// introduce prints how to talk to the fleet.
func introduce(w io.Writer, o *dev.Options, f *dev.Fleet, took time.Duration) {
	fmt.Fprintf(w, "%d regions of %d nodes are ready after %.1f s; data, logs and fleet.json are in %s\n\n",
		len(f.Regions), len(f.Regions[0].Nodes), took.Seconds(), o.Dir)
	for _, r := range f.Regions {
		fmt.Fprintf(w, "  %-10s", r.Name)
		for _, n := range r.Nodes {
			fmt.Fprintf(w, "  %s %s", n.Name, n.Client)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\nIn a browser: %s (served by every node: docs/console.md)\n", consoleOf(f))
	at := ""
	if first := f.Regions[0].Nodes[0].Client; first != defaultEndpoint {
		at = " --endpoints " + first
	}
	last := f.Regions[len(f.Regions)-1]
	tries := []try{
		{"mimir status" + at, "who is primary, and how far the others are behind"},
		{"etcdctl --endpoints " + last.Nodes[0].Client + " put greeting hello", "any client of etcd, if you have one"},
		{"mimir bench --ops put --duration 3s" + at, "some load"},
	}
	if len(f.Regions) > 1 {
		tries = append(tries, breaking(o, f, at)...)
	}
	fmt.Fprint(w, "\nCtrl-C stops all of it. Watch the page, and in another terminal try:\n\n")
	printTries(w, tries)
}

// try is a command to copy, and what it is about.
type try struct{ command, about string }

// printTries prints commands as this program was called.
func printTries(w io.Writer, tries []try) {
	me, width := invocation(), 0
	for i := range tries {
		if rest, ours := strings.CutPrefix(tries[i].command, "mimir "); ours {
			tries[i].command = me + " " + rest
		}
		width = max(width, len(tries[i].command))
	}
	for _, t := range tries {
		fmt.Fprintf(w, "  %-*s  # %s\n", width, t.command, t.about)
	}
	fmt.Fprintln(w)
}

// breaking are the commands that move the primary, have the region fail that is primary then, and show what is made of
// it. Whoever asks does so at the given place.
func breaking(o *dev.Options, f *dev.Fleet, at string) []try {
	in := ""
	if o.Dir != devDir {
		in = " --data-dir " + o.Dir
	}
	first, last := f.Regions[0], f.Regions[len(f.Regions)-1]
	tries := []try{
		{"mimir switchover --to " + last.Name + at, "the primary moves, and nothing is lost"},
		{"mimir dev break region " + last.Name + in, "as a power cut would"},
		{"mimir status --watch" + at, "what is wrong, and what helps; Ctrl-C ends it"},
	}
	if f.Witness == nil {
		force := "mimir failover --to " + first.Name + " --force" + at
		tries = append(tries, try{force, first.Name + " goes on without it"})
	}
	return append(tries, try{"mimir dev heal" + in, last.Name + " is back, and follows within seconds"},
		try{"mimir events --since 10m" + at, "what was decided, when, why, and what it cost"})
}

// devDir is where mimir dev keeps everything if it is told nothing else.
const devDir = "mimir-dev"

// invocation is how this program was called, for commands to copy.
func invocation() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/mimir"
	}
	if !strings.ContainsRune(os.Args[0], filepath.Separator) {
		return "mimir"
	}
	return os.Args[0]
}
