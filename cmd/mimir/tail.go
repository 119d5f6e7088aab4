package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// storedTail is a rescue file and where it is.
type storedTail struct {
	replication.TailInfo
	URLs []string `json:"-"`
}

func newTail(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "tail",
		Short: "Look at writes that a failover cut off",
		Long: "After a failover, the old primary saves the writes that the new one did not have to a rescue file on\n" +
			"each of its nodes, before it rejoins. These commands find and read them.",
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTailList(n), newTailShow(n), newTailExport(n))
	return c
}

// tails returns the rescue files of every node that can be reached, and who could not be asked: those may have more.
func tails(ctx context.Context, client *admin.Client) (found []storedTail, silent []string, err error) {
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
				list, err = client.At(node.ClientURLs...).Tails(ctx)
			}
			if err != nil {
				silent = append(silent, node.Name)
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

// findTail returns a readable copy of the tail.
func findTail(ctx context.Context, client *admin.Client, name string) (*storedTail, error) {
	all, silent, err := tails(ctx, client)
	if err != nil {
		return nil, err
	}
	damaged := ""
	for _, t := range all {
		if t.Name == name && t.Damaged == "" {
			return &t, nil
		}
		if t.Name == name {
			damaged = t.Damaged
		}
	}
	if damaged != "" {
		return nil, fmt.Errorf("tail %s: %s", name, damaged)
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
			if len(silent) > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "not asked, because they do not answer: %s; they may have more\n",
					strings.Join(silent, ", "))
			}
			return n.print(c.OutOrStdout(), all, func(w io.Writer) { printTails(w, all) })
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
	fmt.Fprintln(t, "NAME\tNODE\tAFTER\tLAST\tCOMMANDS\tBYTES\tSAVED\tREPLACED BY\tPROBLEM")
	for _, one := range all {
		if one.Damaged != "" {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t-\t-\t-\t%s\n", one.Name, one.Node, one.Damaged)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\tepoch %d of %s\t\n", one.Name, one.Node, one.Fork, one.Last,
			one.Commands, byteText(one.Bytes), one.Saved.Local().Format(time.DateTime),
			one.Claim.Epoch, one.Claim.Primary)
	}
	t.Flush()
}

func newTailShow(n *connection) *cobra.Command {
	limit := 20
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show what a tail holds",
		Args:  oneArgument("the name of a tail"),
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			tail, err := findTail(c.Context(), client, arguments[0])
			if err != nil {
				return err
			}
			return n.showTail(c, client.At(tail.URLs...), tail, limit)
		}),
	}
	n.addFlags(c)
	c.Flags().IntVar(&limit, "limit", limit, "show at most so many writes")
	return c
}

// errEnough ends the reading of a tail early.
var errEnough = errors.New("enough")

func (n *connection) showTail(c *cobra.Command, client *admin.Client, tail *storedTail, limit int) error {
	writes := []*admin.Write{}
	err := client.ReadTail(c.Context(), tail.Name, func(w *admin.Write) error {
		if len(writes) >= limit {
			return errEnough
		}
		writes = append(writes, w)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	whole := struct {
		*storedTail
		Writes []*admin.Write `json:"writes"`
	}{tail, writes}
	return n.print(c.OutOrStdout(), whole, func(w io.Writer) {
		printTails(w, []storedTail{*tail})
		fmt.Fprintln(w)
		for _, one := range writes {
			fmt.Fprintf(w, "%d\t%s\t%s\n", one.Position, one.Op, one.Request)
		}
		if more := tail.Commands - uint64(len(writes)); more > 0 {
			fmt.Fprintf(w, "and %d more: mimir tail export %s\n", more, tail.Name)
		}
	})
}

func newTailExport(n *connection) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a tail as JSON, one write a line",
		Long: "Write every write of a tail as one JSON object a line, to standard output or a file: epoch,\n" +
			"position, op and the request in the form of the etcd API's JSON, with keys and values in base64. The\n" +
			"file appears only when it is whole.",
		Args: oneArgument("the name of a tail"),
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			tail, err := findTail(c.Context(), client, arguments[0])
			if err != nil {
				return err
			}
			client = client.At(tail.URLs...)
			if to == "" {
				return exportTail(c, client, tail, c.OutOrStdout())
			}
			if err := exportFile(c, client, tail, to); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.ErrOrStderr(), "wrote %d commands to %s\n", tail.Commands, to)
			return err
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&to, "to", "", "file to write; must not exist")
	return c
}

func exportFile(c *cobra.Command, client *admin.Client, tail *storedTail, to string) error {
	if _, err := os.Stat(to); err == nil {
		return fmt.Errorf("%s exists already", to)
	}
	f, err := os.Create(to + ".part")
	if err != nil {
		return err
	}
	err = exportTail(c, client, tail, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(to + ".part")
		return err
	}
	return os.Rename(to+".part", to)
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
