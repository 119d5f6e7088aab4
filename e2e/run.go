package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// Options of a run. All but Delay must be set.
type Options struct {
	Binary  string        // the mimir to test
	Dir     string        // an empty directory for everything
	Records []Record      // what the load phase loads
	Delay   time.Duration // between the regions, one way
	Cut     time.Duration // for how long the load phase cuts the link between the regions
	Writes  int           // acknowledged writes that the other phases wait for, before and after what they do
	Pause   time.Duration // that a writer of the other phases makes between two writes
	Phases  []string      // names of Phases(), run as they are listed, and as often
	Out     io.Writer     // receives the report
}

// The phases, in the order in which they run by default.
var phases = []struct {
	name, about string
	run         func(*run, context.Context) error
}{
	{"load", "load records while nodes are killed and the link is cut", (*run).load},
	{"switchover", "move the primary and back under load", (*run).switchover},
	{"interrupted", "cut the link and kill leaders during switchovers under load", (*run).interrupted},
	{"paused", "stop the leader of the primary and let it go on, while clients keep leases alive", (*run).paused},
	{"failover", "kill the primary region under load and fail over", (*run).failover},
	{"restart", "kill the whole fleet under load and start it again", (*run).restart},
	{"bootstrap", "keep a region away until the log does not reach back to what it has", (*run).bootstrap},
	{"badinput", "wrong input of every kind", (*run).badInput},
}

// Phases returns the names of the phases, in the order in which they run by default.
func Phases() []string {
	var names []string
	for _, p := range phases {
		names = append(names, p.name)
	}
	return names
}

// The fleet of every run, and how long a state is waited for.
var regionNames = []string{"us", "eu"}

const (
	nodesPerRegion = 3
	patience       = 120 * time.Second
)

type run struct {
	Options
	report
	fleet *localfleet.Fleet
	round int // of the phase that runs, from 1
}

// prefix returns where the running phase writes.
func (r *run) prefix(name string) string { return fmt.Sprintf("/%s/%d/", name, r.round) }

// Run runs the phases on one fleet, and returns an error at the first thing that is not as promised.
func Run(ctx context.Context, o Options) (err error) {
	for _, name := range o.Phases {
		if !slices.Contains(Phases(), name) {
			return fmt.Errorf("no phase %q; there are %s", name, strings.Join(Phases(), ", "))
		}
	}
	f, err := localfleet.New(localfleet.Options{
		Dir: o.Dir, Command: []string{o.Binary, "serve"}, Regions: regionNames, Nodes: nodesPerRegion, Delay: o.Delay,
	})
	if err != nil {
		return err
	}
	defer f.Close()
	r := &run{Options: o, fleet: f, report: report{out: o.Out, start: time.Now()}}
	if err := localfleet.Start(f.Nodes()); err != nil {
		return err
	}
	if err := r.awaitServing(ctx); err != nil {
		return err
	}
	r.line("%d regions of %d nodes serve; %s between them", len(f.Regions), nodesPerRegion, o.Delay)
	for i, name := range o.Phases {
		r.round = i + 1
		p := phases[slices.Index(Phases(), name)]
		r.phase(p.name + ": " + p.about)
		if err := p.run(r, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	r.phase("what the nodes had to say")
	r.summarizeLogs()
	return nil
}

// await polls until missing returns "", which says what is still missing.
func (r *run) await(ctx context.Context, what string, missing func(context.Context) string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		text := missing(ctx)
		if text == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not within %s: %s: %s", patience, what, text), ctx.Err())
		case <-poll.C:
		}
	}
}

// summarizeLogs counts the warnings and errors that the nodes logged.
func (r *run) summarizeLogs() {
	counts := map[string]int{}
	for _, n := range r.fleet.Nodes() {
		text, _ := os.ReadFile(n.LogPath())
		for line := range strings.Lines(string(text)) {
			for _, level := range []string{"WARN", "ERROR"} {
				if strings.Contains(line, "level="+level) {
					counts[level+" "+message(line)]++
				}
			}
		}
	}
	var texts []string
	for text := range counts {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	for _, text := range texts {
		fmt.Fprintf(r.out, "%8d ×  %s\n", counts[text], text)
	}
	if len(texts) == 0 {
		fmt.Fprintln(r.out, "no warnings")
	}
	r.line("logs are in %s", filepath.Join(r.Dir, "*", "log"))
}

// message returns the msg of a line of log/slog's text format.
func message(line string) string {
	_, rest, _ := strings.Cut(line, " msg=")
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		text, _, _ := strings.Cut(quoted, `"`)
		return text
	}
	text, _, _ := strings.Cut(rest, " ")
	return strings.TrimSpace(text)
}
