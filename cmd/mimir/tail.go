package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup/whole"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/plain"
)

// storedTail is a rescue file and where it is.
type storedTail struct {
	replication.TailInfo
	URLs []string `json:"-"`
}

func newTail(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "tail",
		Short: "Look at writes that a failover cut off, and do them again",
		Long: "After a failover, the old primary saves the writes that the new one did not have to a rescue file on\n" +
			"each of its nodes, before it rejoins. These commands find and read them, do what still applies, and\n" +
			"discard them.",
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTailList(n), newTailShow(n), newTailExport(n), newTailDiff(n), newTailReplay(n),
		newTailDiscard(n))
	return c
}

// tailSearch looks for rescue files on all nodes.
type tailSearch struct {
	client *admin.Client
	// lenient takes who denies the operator's right for one who does not answer. Else that ends the search.
	lenient bool
}

// tails returns the rescue files of every node that can be reached, and who could not be asked: those may have more.
func tails(ctx context.Context, client *admin.Client) (found []storedTail, silent []string, err error) {
	return tailSearch{client: client}.all(ctx)
}

func (s tailSearch) all(ctx context.Context) (found []storedTail, silent []string, err error) {
	client := s.client
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, nil, err
	}
	found = []storedTail{}
	asked := 0
	for _, r := range fleet.Regions {
		if len(r.Nodes) == 0 {
			silent = append(silent, "every node of region "+r.Name)
		}
		for _, node := range r.Nodes {
			var list []replication.TailInfo
			err := errUnreachable
			if node.Reachable && len(node.ClientURLs) > 0 {
				list, err = tailsOf(ctx, client, &node)
			}
			if isDenied(err) {
				if !s.lenient {
					return nil, nil, fmt.Errorf("%s: %w", node.Name, err)
				}
				silent = append(silent, node.Name+" (which takes whoever asks for no operator)")
				continue
			}
			if err != nil {
				silent = append(silent, notAsked(node.Name, err))
				continue
			}
			asked++
			for _, t := range list {
				t.Node = node.Name
				found = append(found, storedTail{t, node.ClientURLs})
			}
		}
	}
	if asked == 0 {
		return nil, nil, errors.New("no node could be asked for its tails")
	}
	return found, silent, nil
}

var errUnreachable = errors.New("unreachable")

// tailsOf asks a node for its rescue files.
func tailsOf(ctx context.Context, client *admin.Client, n *replication.NodeStatus) ([]replication.TailInfo, error) {
	at, err := atNode(ctx, client, n)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return at.Tails(ctx)
}

// at returns a client of the node that has the file; see atNode.
func (s *storedTail) at(ctx context.Context, client *admin.Client) (*admin.Client, error) {
	at, err := atNode(ctx, client, &replication.NodeStatus{Name: s.Node, ClientURLs: s.URLs})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Node, err)
	}
	return at, nil
}

// notAsked names a node that did not answer, and who did in its place; see mayHave.
func notAsked(name string, err error) string {
	if errors.Is(err, errInItsPlace) {
		return fmt.Sprintf("%s%s%v)", name, inItsPlace, err)
	}
	return name
}

// inItsPlace stands behind the name of a node.
const inItsPlace = " ("

// isDenied reports whether a node answered that the caller may not do what he asked for.
func isDenied(err error) bool {
	var answered *admin.Error
	return errors.As(err, &answered) && answered.Status == http.StatusForbidden
}

// Which copies of a tail are good enough: nodes have what their logs had.
var (
	anyCopy   = func(*storedTail) bool { return true }
	withState = func(t *storedTail) bool { return t.State != nil }
)

// findTail returns a readable copy of the tail, that with the most commands of those that are good.
func findTail(
	ctx context.Context, client *admin.Client, name string, good func(*storedTail) bool,
) (*storedTail, error) {
	return tailSearch{client: client}.find(ctx, name, good)
}

func (s tailSearch) find(ctx context.Context, name string, good func(*storedTail) bool) (*storedTail, error) {
	all, silent, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	damaged := ""
	var best *storedTail
	for _, t := range all {
		switch {
		case t.Name != name:
		case t.Damaged != "":
			damaged += fmt.Sprintf("; on node %s: %s", t.Node, t.Damaged)
		case good(&t) && (best == nil || t.Commands > best.Commands):
			best = &t
		}
	}
	if best != nil {
		return best, nil
	}
	if damaged != "" {
		return nil, fmt.Errorf("no copy of tail %s that answers can be read%s", name, damaged)
	}
	if len(silent) > 0 {
		return nil, fmt.Errorf("no tail %q on any node that answers; not asked: %s", name, strings.Join(silent, ", "))
	}
	return nil, fmt.Errorf("no tail %q on any node; see mimir tail list", name)
}

func newTailList(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the tails on all nodes",
		Args:  noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			all, silent, err := tails(c.Context(), client)
			if err != nil {
				return err
			}
			err = n.print(c.OutOrStdout(), all, func(w io.Writer) { printTails(w, all) })
			if err == nil && len(silent) > 0 {
				err = fmt.Errorf("not asked, because they do not answer: %s; they may have more",
					strings.Join(silent, ", "))
			}
			return err
		}),
	}
	n.addFlags(c)
	return c
}

func printTails(w io.Writer, all []storedTail) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no tails on the nodes that answer")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tNODE\tAFTER\tLAST\tCOMMANDS\tBYTES\tSTATE\tSAVED\tREPLACED BY\tPROBLEM")
	for _, one := range all {
		if one.Damaged != "" {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t-\t%s\t-\t-\t%s\n", one.Name, one.Node, one.stateText(), one.Damaged)
			continue
		}
		saved, by := "-", fmt.Sprintf("epoch %d", one.Claim.Epoch)
		if !one.Saved.IsZero() {
			saved = one.Saved.Local().Format(time.DateTime)
		}
		if one.Claim.Primary != "" {
			by += " of " + one.Claim.Primary
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", one.Name, one.Node, one.Fork, one.Last,
			one.Commands, byteText(one.Bytes), one.stateText(), saved, by)
	}
	t.Flush()
}

// stateText says how much the whole state beside the commands is.
func (s *storedTail) stateText() string {
	if s.State == nil {
		return "-"
	}
	return byteText(s.State.Bytes)
}

// partText says what the commands of a tail lack, "" if they are all there.
func (s *storedTail) partText() string {
	if s.Begins() <= s.Fork {
		return ""
	}
	return fmt.Sprintf("On %s the log held the commands from %d on. Those from %d to %d are not told apart any more; "+
		"what they changed is in the whole state as of position %d: mimir tail export %s --state", s.Node, s.Begins()+1,
		s.Fork+1, s.Begins(), s.Last, s.Name)
}

func newTailShow(n *connection) *cobra.Command {
	limit := 20
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show what a tail holds",
		Args:  oneArgument("the name of a tail"),
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			tail, err := findTail(c.Context(), client, arguments[0], anyCopy)
			if err != nil {
				return err
			}
			at, err := tail.at(c.Context(), client)
			if err != nil {
				return err
			}
			defer at.Close()
			return n.showTail(c, at, tail, limit)
		}),
	}
	n.addFlags(c)
	c.Flags().IntVar(&limit, "limit", limit, "show at most so many writes")
	return c
}

func (n *connection) showTail(c *cobra.Command, client *admin.Client, tail *storedTail, limit int) error {
	writes, err := admin.FirstWrites(c.Context(), client, tail.Name, limit)
	if err != nil {
		return err
	}
	whole := struct {
		*storedTail
		Writes []*admin.Write `json:"writes"`
	}{tail, writes}
	return n.print(c.OutOrStdout(), whole, func(w io.Writer) {
		printTails(w, []storedTail{*tail})
		fmt.Fprintln(w)
		if text := tail.partText(); text != "" {
			fmt.Fprintln(w, text)
		}
		for _, one := range writes {
			request := strings.Join(strings.Fields(string(one.Request)), " ") // as the node sent it, in one line
			fmt.Fprintf(w, "%d\t%s\t%s\n", one.Position, plain.Words(one.Op), request)
		}
		if more := tail.Commands - uint64(len(writes)); more > 0 {
			fmt.Fprintf(w, "and %d more: mimir tail export %s\n", more, tail.Name)
		}
	})
}

// export is what of a tail is written out.
type export struct {
	to    string
	state bool
	after int64 // revision; negative: the fork
}

func newTailExport(n *connection) *cobra.Command {
	e := export{after: -1}
	c := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a tail as JSON, one write a line",
		Long: "Write every write of a tail as one JSON object a line, to standard output or a file: epoch,\n" +
			"position, op and the request in the form of the etcd API's JSON, with keys and values in base64. The\n" +
			"file appears only when it is whole.\n\n" +
			"With --state, write what changed in the whole state that is kept where a node's log did not hold all\n" +
			"writes of a tail: a line about the state, and then one event of the etcd API's JSON a line, in order\n" +
			"of revision, those after the fork where its revision is known, and else all that was not compacted.",
		Args: oneArgument("the name of a tail"),
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			if !e.state && c.Flags().Changed("after") {
				return fmt.Errorf("%w: --after goes with --state", errUsage)
			}
			good := anyCopy
			if e.state {
				good = withState
			}
			tail, err := findTail(c.Context(), client, arguments[0], good)
			if err != nil {
				return err
			}
			at, err := tail.at(c.Context(), client)
			if err != nil {
				return err
			}
			defer at.Close()
			return e.run(c, at, tail)
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&e.to, "to", "", "file to write; must not exist")
	c.Flags().BoolVar(&e.state, "state", false, "write the changes of the whole state instead")
	c.Flags().Int64Var(&e.after, "after", e.after, "with --state: the changes after this revision")
	return c
}

func (e *export) run(c *cobra.Command, client *admin.Client, tail *storedTail) error {
	count, unit := uint64(0), "commands"
	write := func(to io.Writer) (err error) {
		count, err = tail.Commands, exportTail(c, client, tail, to)
		return err
	}
	if e.state {
		unit = "changes"
		write = func(to io.Writer) (err error) {
			count, err = exportState(c.Context(), client, tail.Name, e.after, to)
			return err
		}
	}
	if e.to == "" {
		if err := write(c.OutOrStdout()); err != nil {
			return err
		}
	} else {
		if err := exportFile(e.to, write); err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "wrote %d %s to %s\n", count, unit, e.to)
	}
	if text := tail.partText(); text != "" && !e.state {
		fmt.Fprintln(c.ErrOrStderr(), text)
	}
	return nil
}

// exportState writes what changed in the state beside a tail, and returns how many changes that are.
func exportState(
	ctx context.Context, client *admin.Client, name string, after int64, to io.Writer,
) (count uint64, err error) {
	out := bufio.NewWriterSize(to, 1<<20)
	encoder := json.NewEncoder(out)
	err = client.ReadState(ctx, name, after,
		func(h *admin.StateHeader) error { return encoder.Encode(h) },
		func(change admin.Change) error {
			count++
			return encoder.Encode(change)
		})
	if err != nil {
		return 0, err
	}
	return count, out.Flush()
}

// exportFile makes a file, for its owner alone, of what write writes: whole, or not at all.
func exportFile(to string, write func(io.Writer) error) error {
	f, err := whole.Create(to)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already", to)
	} else if err != nil {
		return err
	}
	defer f.Abandon() //nolint:errcheck // of what is whole nothing is left to be removed
	if err := write(f); err != nil {
		return err
	}
	if err := f.Finish(); err != nil {
		return err
	}
	return f.Publish()
}

func exportTail(c *cobra.Command, client *admin.Client, tail *storedTail, to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<20)
	encoder := json.NewEncoder(out)
	shown := startProgress(c.ErrOrStderr(), tail.Commands, "commands")
	count := uint64(0)
	err := client.ReadTail(c.Context(), tail.Name, func(w *admin.Write) error {
		count++
		shown.step(count)
		return encoder.Encode(w)
	})
	shown.end()
	if err != nil {
		return err
	}
	if count != tail.Commands {
		return fmt.Errorf("tail %s: got %d commands of %d", tail.Name, count, tail.Commands)
	}
	return out.Flush()
}
