package main

import (
	"cmp"
	"context"
	"errors"
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
	"github.com/mimir-kv/mimir/server/patrol"
)

// fleetReport is replication.FleetStatus with what only the store knows.
type fleetReport struct {
	*replication.FleetStatus
	// Survivable says that the loss of any one region, when it was asked, would have lost no acknowledged write.
	Survivable bool            `json:"survivable"`
	Regions    []regionReport  `json:"regions"`
	Alarms     []alarmReport   `json:"alarms,omitempty"`
	Archive    []archiveReport `json:"archive,omitempty"`
	Open       []string        `json:"open,omitempty"` // what is open to others, on the nodes that answered
	// waysAround is what of it nobody can have wanted: it is wrong whether or not the fleet is to be closed.
	waysAround []string
	// Certificates are those of all nodes that answered; nil if nothing is to be told.
	Certificates *certificateReport `json:"certificates,omitempty"`
	// Backups is what is known of them; nil if no node that answered has them in its settings.
	Backups *backupReport `json:"backups,omitempty"`
	// Compare is what the node knows that compares all nodes; nil if none that answered does.
	Compare *patrol.Report `json:"compare,omitempty"`
	// Partial are the regions that follow only some prefixes, as far as nodes that answered know them.
	Partial []partialReport `json:"partial,omitempty"`
	// Held is what the nodes that answered send to other regions at a rate at most, where anything went.
	Held []heldReport `json:"held,omitempty"`
	// Silent are the nodes of which their region says that they answer, and that did not tell of themselves.
	Silent []silentNode `json:"silent,omitempty"`
	// Versions are those of the nodes that answered, each with their names.
	Versions map[string][]string `json:"versions,omitempty"`
	// Next are commands that help with what is wrong, each with why, the most pressing first.
	Next []string `json:"next,omitempty"`
}

type regionReport struct {
	replication.RegionStatus
	Revision admin.Revision `json:"revision"` // of the node By; -1 if it did not tell
	nodes    []nodeReport   // those that answered
	silent   []silentNode   // those that did not
	alarms   []admin.Alarm  // of the fleet, as that node has them
}

func newStatus(n *connection) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the whole fleet",
		Args:  o.arguments,
		Long: "Show the whole fleet as the first endpoint that answers sees it: what is wrong first, with commands\n" +
			"that help. With --watch it is shown anew until Ctrl-C, and how fast each region writes; as JSON that\n" +
			"is an object a line, {\"at\", \"fleet\"} or {\"at\", \"error\"}. Schema: docs/status.schema.json.\n\n" +
			"Exit status, for scripts with --check: 0 if all is well; 1 if anything is wrong with a region or the\n" +
			"fleet, or is not known, or nobody answers; 2 wrong usage. Without --check it is 1 only if two regions\n" +
			"take writes, or nobody answers. What is known is printed in any case. Nodes that answer other nodes\n" +
			"and not the command, as from where their ports for clients are not reached, are noted (silent) and\n" +
			"count as no fault: of what is wrong with them only what the fleet tells is known.",
		Example: "  mimir status --endpoints 10.1.0.1:2379,10.2.0.1:2379 --verbose\n  mimir status --watch\n" +
			"  mimir status --watch=5s",
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			return o.run(c, n, client)
		}),
	}
	n.addFlags(c)
	c.Flags().BoolVar(&o.check, "check", false, "exit with 1 if anything is wrong")
	c.Flags().BoolVar(&o.closed, "closed", false,
		"with --check: exit with 1 also if anything is open to others, or is not known to be closed")
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "show each node too")
	c.Flags().DurationVarP(&o.watch, "watch", "w", 0,
		"show it anew every so often, as --watch=5s (without a duration: 2s)")
	c.Flags().Lookup("watch").NoOptDefVal = usualWatch.String()
	return c
}

// statusOptions are the flags of status.
type statusOptions struct {
	check, closed, verbose bool
	watch                  time.Duration
}

// arguments takes none, but the duration that is written behind --watch instead of with it.
func (o *statusOptions) arguments(c *cobra.Command, arguments []string) error {
	if len(arguments) == 1 && c.Flags().Changed("watch") && o.watch == usualWatch {
		if every, err := time.ParseDuration(arguments[0]); err == nil {
			o.watch = every
			return nil
		}
	}
	return noArguments(c, arguments)
}

func (o *statusOptions) run(c *cobra.Command, n *connection, client *admin.Client) error {
	client = admin.GivingUp(client, silenceTimeout)
	if c.Flags().Changed("watch") {
		if o.check || o.watch < leastWatch {
			return fmt.Errorf("%w: --watch goes on until Ctrl-C, without --check, every %s or more slowly", errUsage,
				leastWatch)
		}
		client = admin.Telling(client, nil) // the picture says it itself
		w := statusWatch{every: o.watch, out: c.OutOrStdout(), screen: isTerminal(c.OutOrStdout()),
			json: n.output == "json", print: o.print, like: n.given(c)}
		return w.run(c.Context(), client)
	}
	if o.closed && !o.check {
		return fmt.Errorf("%w: --closed goes with --check", errUsage)
	}
	report, err := inspect(c.Context(), client)
	if err != nil {
		return err
	}
	report.askedLike(n.given(c))
	if err := n.print(c.OutOrStdout(), report, func(w io.Writer) { o.print(w, report) }); err != nil {
		return err
	}
	return report.verdict(o.check, o.closed)
}

func (o *statusOptions) print(w io.Writer, f *fleetReport) {
	f.print(w)
	if o.verbose {
		f.printNodes(w)
	}
}

// inspect asks one node for the fleet, and one node of each region for what its store knows.
func inspect(ctx context.Context, client *admin.Client) (*fleetReport, error) {
	return inspectWithin(ctx, client, revisionTimeout, silenceTimeout)
}

func inspectWithin(ctx context.Context, client *admin.Client, bound, silence time.Duration) (*fleetReport, error) {
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	report := &fleetReport{FleetStatus: fleet, Survivable: len(fleet.Regions) > 1}
	for _, r := range fleet.Regions {
		report.Regions = append(report.Regions, regionReport{RegionStatus: r, Revision: -1})
		report.Survivable = report.Survivable && r.LossSurvivable
	}
	ctx, heard, end := together(ctx, bound, silence)
	defer end()
	var wg sync.WaitGroup
	for i := range report.Regions {
		r := &report.Regions[i]
		if urls := clientURLs(&r.RegionStatus); len(urls) > 0 {
			wg.Go(func() {
				if node, err := client.At(urls...).Node(ctx); err == nil && itself(node, r.By) == nil {
					r.Revision, r.alarms = node.Revision, node.Alarms
					heard()
				}
			})
		}
		wg.Go(func() { r.nodes, r.silent = askNodes(ctx, client, r.Nodes, heard) })
	}
	wg.Wait()
	report.tellAlarms()
	report.tellSilent()
	report.tellArchive()
	report.tellOpen()
	report.tellIdle()
	report.tellCertificates(time.Now())
	report.tellBackups(time.Now())
	report.tellCompare(time.Now())
	report.tellHeld()
	report.tellPartial()
	report.tellGate()
	report.tellNext()
	return report, nil
}

// clientURLs returns where the node serves clients that spoke for the region: what another one has is of another
// moment. Of a picture that does not say who spoke, by an older node, they are the leader's, and those of all that
// answered.
func clientURLs(r *replication.RegionStatus) []string {
	var first, rest []string
	for _, node := range r.Nodes {
		switch {
		case r.By != "" && node.Name == r.By, r.By == "" && node.Leader:
			first = append(first, node.ClientURLs...)
		case r.By == "" && node.Reachable:
			rest = append(rest, node.ClientURLs...)
		}
	}
	return append(first, rest...)
}

// errFleet says that the fleet is not as it should be.
var errFleet = errors.New("the fleet is not well")

// verdict is the error that makes the exit status: of two primaries always, of everything else if everything is wanted,
// and of what is open to others if the fleet is to be closed.
func (f *fleetReport) verdict(everything, closed bool) error {
	if len(f.TakeWrites) > 1 {
		return fmt.Errorf("%w: regions %s both take writes", errFleet, strings.Join(f.TakeWrites, " and "))
	}
	if !everything {
		return nil
	}
	wrong := slices.Clone(f.Warnings)
	if f.Primary == "" {
		wrong = append(wrong, "no region is known to be primary")
	}
	for _, r := range f.Regions {
		if text := r.problems(); text != "" {
			wrong = append(wrong, r.Name+": "+text)
		}
	}
	if f.Backups != nil {
		wrong = append(wrong, f.Backups.Wrong...)
	}
	if f.Certificates != nil {
		wrong = append(wrong, f.Certificates.Wrong...)
	}
	wrong = append(wrong, f.waysAround...)
	if closed {
		for _, text := range f.Open {
			wrong = append(wrong, "open to others: "+text)
		}
		for _, s := range f.Silent {
			wrong = append(wrong, fmt.Sprintf("what is open to others at %s (%s) is not known: %s", s.Node, s.Region,
				s.Why))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", errFleet, strings.Join(wrong, "; "))
}

func (f *fleetReport) print(w io.Writer) {
	for _, text := range f.Warnings {
		fmt.Fprintln(w, "WARNING:", text)
	}
	if c := f.Certificates; c != nil {
		for _, text := range c.Wrong {
			fmt.Fprintln(w, "ERROR:", text)
		}
		for _, text := range c.Soon {
			fmt.Fprintln(w, "WARNING:", text)
		}
	}
	if f.Backups != nil {
		for _, text := range f.Backups.Wrong {
			fmt.Fprintln(w, "WARNING:", text)
		}
	}
	f.printWrong(w)
	for _, text := range f.Notes {
		fmt.Fprintln(w, "NOTE:", text)
	}
	primary := f.Primary
	if primary == "" {
		primary = "none known"
	}
	fmt.Fprintf(w, "fleet %s, epoch %d, primary %s (as %s sees it)\n\n", f.Fleet, f.Epoch, primary, f.Asked)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REGION\tROLE\tEPOCH\tPOSITION\tREVISION\tLEADER\tNODES\tLAG")
	for i := range f.Regions {
		fmt.Fprintln(t, strings.Join(f.Regions[i].row(), "\t"))
	}
	t.Flush()
	fmt.Fprintln(w)
	for _, r := range f.Regions {
		if r.Late != nil {
			fmt.Fprintf(w, "%s: %s\n", r.Name, lateText(r.Late))
		}
		if r.Moving != "" && !r.Sealed {
			fmt.Fprintf(w, "%s %s\n", r.Name, r.Moving)
		}
	}
	printPartial(w, f)
	f.printHeld(w)
	f.printArchive(w)
	f.printVersions(w)
	for _, text := range f.Open {
		fmt.Fprintln(w, "open to others:", text)
	}
	if f.Backups != nil {
		fmt.Fprintln(w, f.Backups.Text)
	}
	if f.Compare != nil {
		fmt.Fprintln(w, compareText(f.Compare))
	}
	f.printLoss(w)
}

// row is the region in the table. What nobody of it said is a dash.
func (r *regionReport) row() []string {
	if r.Role == "" { // nobody answered
		return []string{r.Name, "-", "-", "-", "-", "-", "-", "unknown"}
	}
	nodes := fmt.Sprintf("%d/%d", r.Reachable, r.Voters)
	if r.Voters == 0 { // the asked node is too old to say
		nodes = fmt.Sprintf("%d/%d", reachable(r.Nodes), len(r.Nodes))
	} else if learners := len(r.Nodes) - r.Voters - expected(r.Nodes); learners > 0 {
		nodes += fmt.Sprintf(" +%d", learners)
	}
	return []string{r.Name, string(r.Role), fmt.Sprint(r.Epoch), fmt.Sprint(r.Position), number(int64(r.Revision)),
		dash(r.Leader), nodes, lagText(&r.RegionStatus)}
}

func reachable(nodes []replication.NodeStatus) (n int) {
	for _, node := range nodes {
		if node.Reachable {
			n++
		}
	}
	return n
}

func expected(nodes []replication.NodeStatus) (n int) {
	for _, node := range nodes {
		if node.Expected {
			n++
		}
	}
	return n
}

// printLoss says what the loss of a region would have cost when the fleet was asked.
func (f *fleetReport) printLoss(w io.Writer) {
	if f.Survivable {
		fmt.Fprintln(w, "Any one region could have been lost, when it was asked, without losing an acknowledged write.")
		return
	}
	for _, r := range f.Regions {
		switch {
		case r.LossSurvivable:
		case !r.LossKnown:
			fmt.Fprintf(w, "What losing region %s would lose is not known: no leader of it is known that a majority "+
				"of its nodes confirms.\n", r.Name)
		default:
			fmt.Fprintf(w, "Losing region %s now could lose acknowledged writes: "+
				"no other region that answers is known to have everything it has.\n", r.Name)
		}
	}
}

func (r *regionReport) problems() string {
	text := r.Problem
	sealed := ""
	if r.Sealed {
		sealed = cmp.Or(r.Moving, "sealed for a switchover")
	}
	does := r.Activity
	if r.Bootstrap != nil {
		does = bootstrapText(r.Bootstrap)
	}
	if text == "" && does == "" && sealed == "" {
		return r.unwell()
	}
	for _, more := range []string{does, sealed} {
		if text != "" && more != "" {
			text += "; "
		}
		text += more
	}
	return text
}

func lagText(r *replication.RegionStatus) string {
	switch {
	case r.Role == replication.RolePrimary:
		return "-"
	case r.Lag.Seconds < 0:
		return "unknown"
	case r.Lag.AtLeast && r.Lag.Commands == 0:
		return fmt.Sprintf("unknown for %.2f s", r.Lag.Seconds)
	case r.Lag.AtLeast:
		return fmt.Sprintf("at least %d commands, %.2f s", r.Lag.Commands, r.Lag.Seconds)
	default:
		return fmt.Sprintf("%d commands, %s, %.2f s", r.Lag.Commands, byteText(r.Lag.Bytes), r.Lag.Seconds)
	}
}

// lateText says how late a region is kept: what it has is told apart from that, as its lag.
func lateText(l *replication.Late) string {
	shows := fmt.Sprintf("shows position %d", l.Shown)
	if !l.Of.IsZero() {
		shows = fmt.Sprintf("shows %s, position %d", l.Of.Local().Format("2006-01-02 15:04:05"), l.Shown)
	}
	delay := time.Duration(l.DelaySeconds * float64(time.Second))
	switch {
	case l.Released:
		return fmt.Sprintf("delayed by %s, and shows everything now, by order: %s", delay, shows)
	case delay == 0:
		return "is delayed no longer, and shows everything: " + shows
	case l.Full:
		return fmt.Sprintf("delayed by less than %s, since no more may be held back (apply-delay-bytes): %s", delay,
			shows)
	default:
		return fmt.Sprintf("delayed by %s, %s", delay, shows)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// byteText writes a size for people.
func byteText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, names := float64(n)/unit, "KMGTPE"
	for size >= unit && len(names) > 1 {
		size, names = size/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %ciB", size, names[0])
}
