package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
	"github.com/mimir-kv/mimir/server/plain"
)

// eventOptions are the flags of events.
type eventOptions struct {
	since, region string
	follow, json  bool
}

func newEvents(n *connection) *cobra.Command {
	var o eventOptions
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what the fleet decided: who became primary, when, why, and what it cost",
		Long: "Show the event log of the fleet: who became primary, by whom or because of what, and what it cost;\n" +
			"holds, pauses and other changes of the charter; regions that gave way, saved a tail and came back, or\n" +
			"have to bootstrap; alarms; who led. Every node keeps what it saw, for 400 days and up to 4 MiB. All\n" +
			"nodes are asked; what several tell is shown once. Those that could not be asked are named.\n\n" +
			"Times are of the node that saw it first, and clocks differ: an epoch stands before the next one and\n" +
			"nothing before its cause, whatever the clocks say. A ~ marks what stands elsewhere by its time, a ?\n" +
			"what nodes only learned of afterwards. With --follow what comes is told as it comes; as JSON that is\n" +
			"an object a line.",
		Example: "  mimir events --since 24h\n  mimir events --region eu --since 2026-11-27T03:00:00Z\n" +
			"  mimir events --follow --json",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			if o.json {
				n.output = "json"
			}
			since, err := sinceTime(o.since, time.Now())
			if err != nil {
				return err
			}
			crowd := &eventCrowd{client: admin.GivingUp(client, silenceTimeout), bound: eventTimeout,
				silence: silenceTimeout, question: events.Question{Since: since, Region: o.region}}
			if o.follow {
				f := eventFollow{crowd: crowd, out: c.OutOrStdout(), errs: c.ErrOrStderr(), json: n.output == "json",
					shown: map[string]bool{}}
				return f.run(c.Context())
			}
			report, err := crowd.report(c.Context())
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), report, report.print)
		}),
	}
	n.addFlags(c)
	flags := c.Flags()
	flags.StringVar(&o.since, "since", "", "from when on: a duration back, as 24h, or a time, as 2026-11-27T03:00:00Z")
	flags.StringVar(&o.region, "region", "", "only what concerns this region")
	completes(c, "region", n.regions)
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on telling what comes, until Ctrl-C")
	flags.BoolVar(&o.json, "json", false, "the same as --output json")
	return c
}

// sinceTime returns the time that a text names, the zero time if it is empty.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%w: --since %q: neither a duration, as 24h, nor a time, as 2026-11-27T03:00:00Z",
			errUsage, text)
	}
	return at, nil
}

// eventReport is what mimir events prints as JSON.
type eventReport struct {
	Events []events.Told `json:"events"` // in order
	Nodes  []eventSource `json:"nodes"`  // that answered
	Silent []eventSilent `json:"silent"` // that did not: events that they alone saw are missing
	// Note says that the region which was asked for is none of the fleet now.
	Note string `json:"note,omitempty"`
}

// eventSource is a node whose log was read.
type eventSource struct {
	Node   string `json:"node"`
	Region string `json:"region"`
	// Ahead is by how many seconds its clock is ahead of this machine's, at least and at most; negative: behind.
	Ahead   [2]float64 `json:"clockAheadSeconds"`
	Problem string     `json:"problem,omitempty"` // why events are missing there
}

// eventSilent is a node, or a region of which none is known, that could not be asked.
type eventSilent struct {
	Node   string `json:"node,omitempty"`
	Region string `json:"region"`
	Why    string `json:"why"`
}

// clocksApart is from which difference on a clock is said to be wrong.
const clocksApart = 500 * time.Millisecond

func (r *eventReport) print(w io.Writer) {
	t := eventTeller{}
	for i := range r.Events {
		fmt.Fprintln(w, t.line(&r.Events[i]))
	}
	if len(r.Events) == 0 {
		fmt.Fprintln(w, "no events")
	}
	r.printSources(w)
}

// printSources tells what is to be known of those who told.
func (r *eventReport) printSources(w io.Writer) {
	for _, n := range r.Nodes {
		if n.Problem != "" {
			fmt.Fprintf(w, "WARNING: %s (%s): %s\n", n.Node, n.Region, n.Problem)
		}
		switch {
		case n.Ahead[0] > clocksApart.Seconds():
			fmt.Fprintf(w, "NOTE: the clock of %s is %.1f s ahead of this machine's, or more\n", n.Node, n.Ahead[0])
		case n.Ahead[1] < -clocksApart.Seconds():
			fmt.Fprintf(w, "NOTE: the clock of %s is %.1f s behind this machine's, or more\n", n.Node, -n.Ahead[1])
		}
	}
	for _, s := range r.Silent {
		fmt.Fprintln(w, s.text())
	}
	if r.Note != "" {
		fmt.Fprintln(w, "NOTE:", r.Note)
	}
}

func (s *eventSilent) text() string {
	if s.Node == "" {
		return fmt.Sprintf("NO ANSWER: region %s: %s", s.Region, s.Why)
	}
	return fmt.Sprintf("NO ANSWER: %s (%s): %s", s.Node, s.Region, s.Why)
}

// eventCrowd are the nodes whose logs are read.
type eventCrowd struct {
	client   *admin.Client
	bound    time.Duration   // of an answer, beside what a node waits
	silence  time.Duration   // after which who says nothing is given up, once another answered
	question events.Question // of each, but for what was read before
	nodes    []*eventNode
	unknown  []eventSilent // regions of which no node is known
	note     string        // about the region that is asked for
}

type eventNode struct {
	name, region string
	client       *admin.Client // nil: it is not known where it serves clients
	log          string
	after        uint64
	since        time.Time // from when on it is asked, by its own clock; zero: as all are
	told         toldEvents
}

// find finds out which nodes there are. Those that were known keep what was read of them.
func (k *eventCrowd) find(ctx context.Context) error {
	fleet, err := k.client.Fleet(ctx)
	if err != nil {
		return err
	}
	k.unknown, k.note = nil, strangeRegion(fleet, k.question.Region)
	for _, r := range fleet.Regions {
		if len(r.Nodes) == 0 {
			k.unknown = append(k.unknown, eventSilent{
				Region: r.Name, Why: "none of its nodes has answered " + fleet.Asked + ", which was asked"})
		}
		for _, n := range r.Nodes {
			known := slices.ContainsFunc(k.nodes, func(o *eventNode) bool { return o.name == n.Name })
			if known || n.Expected {
				continue
			}
			one := &eventNode{name: n.Name, region: r.Name}
			if len(n.ClientURLs) > 0 {
				one.client = k.client.At(n.ClientURLs...)
			}
			k.nodes = append(k.nodes, one)
		}
	}
	return nil
}

// strangeRegion says of the name of a region that the fleet has none of that name, "" if it has, or none is asked for:
// the name may be mistyped, or of a region that was removed.
func strangeRegion(fleet *replication.FleetStatus, name string) string {
	var names []string
	for _, r := range fleet.Regions {
		if names = append(names, r.Name); r.Name == name {
			return ""
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("the fleet has no region %q now, but %s", name, strings.Join(names, ", "))
}

// eventAnswer is what came of asking a node.
type eventAnswer struct {
	node  *eventNode
	page  *events.Page // all that it has told, if err is nil
	ahead [2]float64
	since time.Time // from when on it was asked, if not as all were
	err   error
}

// apart is by how much a clock is certainly wrong, 0 if it is not known to be.
func (a *eventAnswer) apart() time.Duration {
	switch seconds := float64(time.Second); {
	case a.ahead[0] > clocksApart.Seconds():
		return time.Duration(a.ahead[0] * seconds)
	case a.ahead[1] < -clocksApart.Seconds():
		return time.Duration(a.ahead[1] * seconds)
	}
	return 0
}

// eventTimeout is how long a node gets for an answer, beside what it waits.
const eventTimeout = 3 * time.Second

// ask asks one node for all that it did not tell yet, and tells heard of each answer. Times of events are of its own
// clock: from when on it tells is said by that one too, so that nothing is left out because it is wrong.
func (k *eventCrowd) ask(ctx context.Context, n *eventNode, wait time.Duration, heard func()) (a eventAnswer) {
	a.node = n
	if n.client == nil {
		a.err = fmt.Errorf("it is not known where it serves clients")
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, k.bound+wait)
	defer cancel()
	q := k.question
	q.Log, q.After, q.Wait = n.log, n.after, wait
	if !n.since.IsZero() {
		q.Since = n.since
	}
	for {
		sent := time.Now()
		page, err := n.client.Events(ctx, q)
		if err == nil {
			err = inPlaceOf(n.name, page.Node)
		}
		if err != nil {
			a.page, a.err = nil, whySilent(ctx, err)
			return a
		}
		heard()
		a.ahead = [2]float64{time.Until(page.Now).Seconds(), page.Now.Sub(sent).Seconds()}
		if apart := a.apart(); apart != 0 && !q.Since.IsZero() && n.log == "" && a.since.IsZero() {
			q.Since, q.Wait = q.Since.Add(apart), 0
			a.since = q.Since
			continue
		}
		if a.page != nil {
			page.Events = append(a.page.Events, page.Events...)
		}
		a.page = page
		q.Log, q.After, q.Wait = page.Log, page.Last, 0
		if !page.More {
			return a
		}
	}
}

// take has the next question to a node be about what follows.
func (a *eventAnswer) take() {
	if a.err == nil {
		a.node.told.leaveOut(a.page, a.node.log != "" && a.page.Log != a.node.log)
		a.node.log, a.node.after = a.page.Log, a.page.Last
		if !a.since.IsZero() {
			a.node.since = a.since
		}
	}
}

// askAll asks all nodes. Those that say nothing are given up some time after the last answer of another. Those that
// wait are shortly after one of them had something to tell: nothing is said of them.
func (k *eventCrowd) askAll(ctx context.Context, wait time.Duration) []eventAnswer {
	ctx, late, end := together(ctx, k.bound+wait, k.silence)
	defer end()
	began := time.Now()
	heard := func() {
		if time.Since(began) >= wait { // else the others have every right to wait on
			late()
		}
	}
	answers := make(chan eventAnswer, len(k.nodes))
	for _, n := range k.nodes {
		go func() { answers <- k.ask(ctx, n, wait, heard) }()
	}
	var list []eventAnswer
	var grace <-chan time.Time
	for range k.nodes {
		select {
		case a := <-answers:
			a.take()
			list = append(list, a)
			if wait > 0 && grace == nil && a.err == nil && len(a.page.Events) > 0 {
				grace = time.After(clocksApart)
			}
		case <-grace:
			return list
		}
	}
	return list
}

// report asks all nodes once.
func (k *eventCrowd) report(ctx context.Context) (*eventReport, error) {
	if err := k.find(ctx); err != nil {
		return nil, err
	}
	r := k.tell(k.askAll(ctx, 0))
	if len(r.Nodes) == 0 && len(r.Silent) > 0 {
		return nil, fmt.Errorf("no node tells its events: %s", r.Silent[0].Why)
	}
	return r, nil
}

// tell puts answers together.
func (k *eventCrowd) tell(answers []eventAnswer) *eventReport {
	r := &eventReport{Nodes: []eventSource{}, Silent: slices.Clone(k.unknown), Note: k.note}
	slices.SortFunc(answers, func(a, b eventAnswer) int { return strings.Compare(a.node.name, b.node.name) })
	var pages []events.Page
	for _, a := range answers {
		if a.err != nil {
			r.Silent = append(r.Silent, eventSilent{Node: a.node.name, Region: a.node.region, Why: plain.Text(a.err)})
			continue
		}
		a.page.Node = a.node.name
		pages = append(pages, *a.page)
		r.Nodes = append(r.Nodes, eventSource{
			Node: a.node.name, Region: a.node.region, Ahead: a.ahead, Problem: a.page.Problem,
		})
	}
	if r.Silent == nil {
		r.Silent = []eventSilent{}
	}
	r.Events = events.Merge(pages)
	return r
}
