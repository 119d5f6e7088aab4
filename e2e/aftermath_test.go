package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// kept returns what the fleet has of a round, as a watcher is told it.
func (r *round) kept(ctx context.Context, since, end int64) (all []change, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := connect(r.next.Nodes[0].Config.ListenClient)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	// A reign that began with a loss, and nobody wrote in it, has no event: how far the watch is has to be asked for.
	ask := time.NewTicker(time.Second)
	defer ask.Stop()
	reached, answers := int64(0), client.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithRev(since+1))
	for {
		var answer clientv3.WatchResponse
		ok := false
		select {
		case <-ask.C:
			if err := client.RequestProgress(ctx); err != nil {
				return nil, fmt.Errorf("ask how far a watch is: %w", err)
			}
			continue
		case answer, ok = <-answers:
		}
		if !ok {
			return nil, fmt.Errorf("a watch from revision %d on ended at %d of %d: %w", since+1, reached, end,
				ctx.Err())
		}
		if err := answer.Err(); err != nil {
			return nil, fmt.Errorf("watch from revision %d on: %w", since+1, err)
		}
		for _, e := range answer.Events {
			if strings.HasPrefix(string(e.Kv.Key), r.pulse.prefix) {
				all = append(all, change{e.Kv.ModRevision, string(e.Kv.Key), string(e.Kv.Value)})
			}
			reached = e.Kv.ModRevision
		}
		if answer.IsProgressNotify() {
			reached = max(reached, answer.Header.Revision)
		}
		if reached >= end {
			return all, nil
		}
	}
}

// rescued returns the values in all rescue files, and discards these. Every node of a region has its copy.
func (c *failoverRun) rescued(ctx context.Context) (map[string]bool, error) {
	tails, err := c.tails(ctx)
	if err != nil {
		return nil, err
	}
	lost, copies := map[string]bool{}, map[string]int{}
	for _, t := range tails {
		if t.Damaged != "" || t.State != nil {
			return nil, fmt.Errorf("a tail that cannot be read, or not as commands: %+v", t)
		}
		copies[t.Name]++
	}
	for name, n := range copies {
		if n != *failoverNodes {
			return nil, fmt.Errorf("%d copies of tail %s instead of one on each of %d nodes: %+v", n, name,
				*failoverNodes, tails)
		}
		if err := c.read(ctx, name, lost); err != nil {
			return nil, err
		}
		var gone struct{ Name string }
		if err := c.operate(ctx, &gone, "tail", "discard", name, "--yes"); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// tails returns all rescue files, when every node was asked for its own.
func (c *failoverRun) tails(ctx context.Context) (tails []replication.TailInfo, err error) {
	endpoints := strings.Join(localfleet.Clients(c.fleet.Nodes()), ",")
	arguments := []string{"tail", "list", "-o", "json", "--endpoints", endpoints}
	err = c.await(ctx, "all nodes tell of their tails", func(ctx context.Context) string {
		status, out, errs, err := c.mimir(ctx, arguments...)
		if err != nil || status != 0 || errs != "" {
			return fmt.Sprintf("exit status %d: %s %v", status, errs, err)
		}
		if err := json.Unmarshal([]byte(out), &tails); err != nil {
			return err.Error()
		}
		return ""
	})
	return tails, err
}

// read adds the values of a tail.
func (c *failoverRun) read(ctx context.Context, name string, lost map[string]bool) error {
	path := filepath.Join(c.Dir, name+".json")
	if err := c.succeed(ctx, "tail", "export", name, "--to", path); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	type put struct{ Value []byte }
	for line := range strings.Lines(string(text)) {
		var w admin.Write
		var request struct {
			put
			Success []struct {
				Put put `json:"request_put"`
			}
		}
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			return err
		}
		if err := json.Unmarshal(w.Request, &request); err != nil {
			return err
		}
		switch {
		case w.Op == "put":
			lost[string(request.Value)] = true
		case w.Op == "txn" && len(request.Success) == 1:
			lost[string(request.Success[0].Put.Value)] = true
		default:
			return fmt.Errorf("tail %s has a %s that no client asked for: %s", name, w.Op, line)
		}
	}
	return nil
}

// succeed runs a command that prints nothing to read.
func (c *failoverRun) succeed(ctx context.Context, arguments ...string) error {
	arguments = append(arguments, "--endpoints", strings.Join(localfleet.Clients(c.fleet.Nodes()), ","))
	status, _, errs, err := c.mimir(ctx, arguments...)
	if err != nil || status != 0 {
		return fmt.Errorf("mimir %s: exit status %d: %s %w", strings.Join(arguments, " "), status, errs, err)
	}
	return nil
}

// forget deletes what a round wrote, and its history.
func (r *round) forget(ctx context.Context, revision int64) error {
	client, err := connect(localfleet.Clients(r.c.fleet.Nodes())...)
	if err != nil {
		return err
	}
	defer client.Close()
	return r.c.await(ctx, "what was written is deleted and compacted", func(ctx context.Context) string {
		if _, err := client.Delete(ctx, r.pulse.prefix, clientv3.WithPrefix()); err != nil {
			return err.Error()
		}
		if _, err := client.Compact(ctx, revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
			return err.Error()
		}
		return ""
	})
}

// byVotes is what the leader of a region that took over by itself logs.
var byVotes = regexp.MustCompile(`msg="took over by votes".* lossy=(\w+) atMostLost=(\d+)`)

// heard reads the logs on from where it was the last time, and returns how often a region took over by itself or by
// force, and how many acknowledged writes those that did so by themselves said that may be lost.
func (c *failoverRun) heard() (failovers int, bound uint64, err error) {
	for _, n := range c.fleet.Nodes() {
		text, err := os.ReadFile(n.LogPath())
		if err != nil {
			return 0, 0, err
		}
		from := c.logs[n.Config.Name]
		c.logs[n.Config.Name] = len(text)
		for line := range strings.Lines(string(text[from:])) {
			if strings.Contains(line, `msg="took over by force"`) {
				failovers++
			}
			if said := byVotes.FindStringSubmatch(line); said != nil {
				failovers++
				lost, err := strconv.ParseUint(said[2], 10, 64)
				if err != nil {
					return 0, 0, err
				}
				bound += lost
			}
		}
	}
	return failovers, bound, nil
}

// ruined is what came of one kind of fault.
type ruined struct {
	rounds, failovers, lost, mostLost int
	gaps, apart, took                 []time.Duration
	bound                             uint64 // the highest
}

func (c *failoverRun) count(name string, r *round, lost int) {
	t := c.table[name]
	if t == nil {
		t = &ruined{}
		c.table[name] = t
	}
	t.rounds++
	t.failovers += r.failovers
	t.lost, t.mostLost, t.bound = t.lost+lost, max(t.mostLost, lost), max(t.bound, r.bound)
	t.gaps, t.apart = append(t.gaps, r.gaps...), append(t.apart, r.apart...)
	if r.took > 0 {
		t.took = append(t.took, r.took)
	}
}

// print prints the table.
func (c *failoverRun) print() {
	fmt.Fprintf(c.out, "\nlease %s, round trip %s, %d nodes a region, budget %d, seed %d: %d failovers\n",
		*failoverLease, *failoverTrip, *failoverNodes, *failoverLoss, c.seed, c.moved)
	fmt.Fprintln(c.out, "Time without an acknowledged write: of any client, and of those of the region that took over;")
	fmt.Fprintln(c.out, "of a failover by order, until the first one after the order. LOST: acknowledged, and rescued.")
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FAULT\tN\tFAILOVERS\tMEDIAN\t99 %\tLONGEST\tTHERE: MEDIAN\t99 %\tLONGEST\tLOST\tMOST\tTOLD\t"+
		"ORDER OR PAUSE: MEDIAN\tLONGEST")
	for _, kind := range ruins {
		k := c.table[kind.name]
		if k == nil {
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%d", kind.name, k.rounds, k.failovers)
		for _, times := range [][]time.Duration{k.gaps, k.apart} {
			fmt.Fprintf(t, "\t%s\t%s\t%s", quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1))
		}
		fmt.Fprintf(t, "\t%d\t%d\t%d\t%s\t%s\n", k.lost, k.mostLost, k.bound, quantile(k.took, 0.5),
			quantile(k.took, 1))
	}
	t.Flush()
}

// quantile is the least time that is not below the part q of them, "-" of none.
func quantile(times []time.Duration, q float64) string {
	if len(times) == 0 {
		return "-"
	}
	slices.Sort(times)
	at := max(int(q*float64(len(times))+0.999999)-1, 0)
	return short(times[min(at, len(times)-1)]).String()
}

func shorts(times []time.Duration) (all []time.Duration) {
	for _, t := range times {
		all = append(all, short(t))
	}
	return all
}

func took(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(", order or pause %s", short(d))
}
