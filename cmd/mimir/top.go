package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/plain"
)

func newTop(n *connection) *cobra.Command {
	t := &top{}
	asJSON := false
	c := &cobra.Command{
		Use:   "top",
		Short: "Show what nodes and regions do: requests, watches, bytes and lag, as rates",
		Long: "Show what each node and region does, by the metrics of all nodes: requests of clients that were\n" +
			"answered well, messages of watches, bytes of clients over gRPC, bytes of the stream between regions,\n" +
			"commands applied, writes that wait for their outcome, and how far a region is behind. It is shown anew\n" +
			"until Ctrl-C, each time as of what was counted since the last. With --once it counts for as long as\n" +
			"--every says, and ends. A dash is what is not known. As JSON it is an object a line.",
		Example: "  mimir top --endpoints 10.1.0.1:2379,10.2.0.1:2379\n  mimir top --every 10s\n" +
			"  mimir top --once --json",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			if t.every < leastWatch {
				return fmt.Errorf("%w: --every %s: it is counted for %s or longer", errUsage, t.every, leastWatch)
			}
			client = admin.GivingUp(admin.Telling(client, nil), silenceTimeout) // what is shown says it itself
			t.bound, t.silence = metricsTimeout, silenceTimeout
			t.client, t.out, t.json = client, c.OutOrStdout(), asJSON || n.output == "json"
			t.screen = isTerminal(t.out) && !t.once
			return t.run(c.Context())
		}),
	}
	n.addFlags(c)
	c.Flags().BoolVar(&t.once, "once", false, "show it once")
	c.Flags().DurationVar(&t.every, "every", usualWatch, "how long is counted for each time")
	c.Flags().BoolVar(&asJSON, "json", false, "the same as --output json")
	return c
}

// top asks nodes for their metrics again and again.
type top struct {
	client             *admin.Client
	bound, silence     time.Duration // of an answer; after which who says nothing is given up, once another answered
	out                io.Writer
	every              time.Duration
	once, json, screen bool

	before map[string]*sampled // by node
}

// topReport is what is shown of a time.
type topReport struct {
	At      time.Time   `json:"at"`
	Seconds float64     `json:"seconds"` // that were counted
	Regions []topRegion `json:"regions"`
	Nodes   []topNode   `json:"nodes"`
	Silent  []string    `json:"silent"` // nodes whose metrics could not be read, and why
}

// topRegion sums up the nodes of a region that were read.
type topRegion struct {
	Region string             `json:"region"`
	Role   replication.Role   `json:"role"`
	Nodes  int                `json:"nodes"` // that were read
	Rates  map[string]float64 `json:"rates"`
	Lag    replication.Lag    `json:"lag"`
	unread int                // nodes that add nothing to the rates
}

// topNode is one node. Rates has what is known, by the keys of figures.
type topNode struct {
	Node   string             `json:"node"`
	Region string             `json:"region"`
	Leader bool               `json:"leader"`
	Rates  map[string]float64 `json:"rates"`
	does   string             // in its region
}

func (t *top) run(ctx context.Context) error {
	if _, err := t.look(ctx); err != nil {
		return err
	}
	next := time.NewTicker(t.every)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
		report, err := t.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && t.once:
			return err
		case err != nil:
			fmt.Fprintf(t.out, "%s: %s\n", time.Now().Format(time.TimeOnly), plain.Text(err))
			continue
		}
		if err := t.show(report); err != nil || t.once {
			return err
		}
	}
}

// look reads the metrics of all nodes, and counts since the last look.
func (t *top) look(ctx context.Context) (*topReport, error) {
	fleet, err := t.client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	r := &topReport{At: time.Now(), Nodes: []topNode{}, Silent: []string{}}
	now := map[string]*sampled{}
	ctx, heard, end := together(ctx, t.bound, t.silence)
	defer end()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, region := range fleet.Regions {
		for _, node := range region.Nodes {
			wg.Go(func() {
				s, err := t.sample(ctx, &node)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					heard()
				}
				if err = whySilent(ctx, err); err != nil {
					r.Silent = append(r.Silent, fmt.Sprintf("%s (%s): %s", node.Name, region.Name, plain.Text(err)))
					return
				}
				now[node.Name] = s
			})
		}
	}
	wg.Wait()
	slices.Sort(r.Silent)
	for i := range fleet.Regions {
		t.region(r, &fleet.Regions[i], now)
	}
	t.before = now
	return r, nil
}

// metricsTimeout is how long a node gets to export its metrics.
const metricsTimeout = 3 * time.Second

func (t *top) sample(ctx context.Context, n *replication.NodeStatus) (*sampled, error) {
	at, err := atNode(ctx, t.client, n)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	text, err := at.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	return &sampled{time.Now(), parseMetrics(text, wanted())}, nil
}

// region adds a region and its nodes.
func (t *top) region(r *topReport, s *replication.RegionStatus, now map[string]*sampled) {
	sum := topRegion{Region: s.Name, Role: s.Role, Rates: map[string]float64{}, Lag: s.Lag}
	for _, n := range s.Nodes {
		if now[n.Name] == nil {
			sum.unread++
			continue
		}
		one := topNode{Node: n.Name, Region: s.Name, Leader: n.Leader, Rates: rates(t.before[n.Name], now[n.Name]),
			does: doesIn(s, &n)}
		if b := t.before[n.Name]; b != nil {
			r.Seconds = max(r.Seconds, now[n.Name].at.Sub(b.at).Seconds())
		}
		sum.Nodes++
		for _, f := range figures {
			value, known := one.Rates[f.key]
			switch {
			case !known:
			case f.key == "commands": // every node applies all of them
				sum.Rates[f.key] = max(sum.Rates[f.key], value)
			default:
				sum.Rates[f.key] += value
			}
		}
		r.Nodes = append(r.Nodes, one)
	}
	r.Regions = append(r.Regions, sum)
}

// doesIn says what a node is in its region: a dash where no leader is known, and so nobody that it follows.
func doesIn(s *replication.RegionStatus, n *replication.NodeStatus) string {
	switch {
	case n.Leader:
		return "leader"
	case n.Learner:
		return "learner"
	case slices.ContainsFunc(s.Nodes, func(one replication.NodeStatus) bool { return one.Leader }):
		return "follower"
	}
	return "-"
}

func (t *top) show(r *topReport) error {
	if t.json {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = t.out.Write(append(text, '\n'))
		return err
	}
	if t.screen {
		if err := control(t.out, clearScreen); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	r.print(&out)
	if !t.screen && !t.once {
		out.WriteByte('\n')
	}
	_, err := t.out.Write(out.Bytes())
	return err
}

func (r *topReport) print(w io.Writer) {
	fmt.Fprintf(w, "%s, counted for %.1f s\n\n", r.At.Local().Format("2006-01-02 15:04:05"), r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	heads := []string{"", "ROLE"}
	for _, f := range figures {
		heads = append(heads, f.head)
	}
	fmt.Fprintln(t, strings.Join(append(heads, "LAG"), "\t")+"\t")
	for _, region := range r.Regions {
		status := replication.RegionStatus{Role: region.Role, Lag: region.Lag}
		lag := lagText(&status)
		if region.Role == "" {
			lag = "unknown"
		}
		name := region.Region
		if region.unread > 0 {
			name += fmt.Sprintf(" (%d of %d nodes)", region.Nodes, region.Nodes+region.unread)
		}
		printRates(t, name, dash(string(region.Role)), region.Rates, lag)
		for _, n := range r.Nodes {
			if n.Region != region.Region {
				continue
			}
			printRates(t, n.Node, n.does, n.Rates, "")
		}
	}
	t.Flush()
	for _, text := range r.Silent {
		fmt.Fprintln(w, "NO ANSWER:", text)
	}
}

func printRates(w io.Writer, name, role string, rates map[string]float64, lag string) {
	row := []string{name, role}
	for _, f := range figures {
		value, known := rates[f.key]
		switch {
		case !known:
			row = append(row, "-")
		case f.bytes:
			row = append(row, byteText(uint64(value)))
		case f.counter && value < 10 && value > 0:
			row = append(row, fmt.Sprintf("%.1f", value))
		default:
			row = append(row, fmt.Sprintf("%.0f", value))
		}
	}
	fmt.Fprintln(w, strings.Join(append(row, lag), "\t")+"\t")
}
