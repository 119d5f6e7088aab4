package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// beyondNode is how much longer than the node's own bound an order is waited for, so that the node says how it ended.
const beyondNode = time.Minute

// moveTimeout bounds what is ordered: moves of the primary, who votes, which regions there are.
const moveTimeout = admin.MoveTime + beyondNode

func newSwitchover(n *connection) *cobra.Command {
	to, abort := "", false
	c := &cobra.Command{
		Use:   "switchover --to REGION | --abort",
		Short: "Move the primary to another region, losing nothing",
		Long: "Move the primary to another region. It waits until that region is close behind, while writes go on;\n" +
			"then writes pause until that region has everything. How far it is goes to standard error. If it does\n" +
			"not get there, the switchover is aborted and the primary stays what it was. With --abort, the\n" +
			"switchover under way is taken back, whoever asked for it, if the other region has not begun. Ctrl-C\n" +
			"takes nothing back.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			switch {
			case abort == (to != ""):
				return fmt.Errorf("%w: either --to or --abort", errUsage)
			case abort:
				return n.abort(c, client)
			}
			return n.move(c, moveTimeout, func(ctx context.Context) (*replication.MoveReport, error) {
				w, end := watchMove(ctx, c.ErrOrStderr(), client)
				defer end()
				return admin.Telling(client, w.waits).Switchover(ctx, to)
			})
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&to, "to", "", "region that becomes primary")
	completes(c, "to", n.regions)
	c.Flags().BoolVar(&abort, "abort", false, "take the switchover under way back")
	return c
}

func (n *connection) abort(c *cobra.Command, client *admin.Client) error {
	ctx, cancel := context.WithTimeout(c.Context(), moveTimeout)
	defer cancel()
	aborted, err := client.AbortSwitchover(ctx)
	if err != nil {
		return err
	}
	return n.print(c.OutOrStdout(), aborted, func(w io.Writer) {
		fmt.Fprintf(w, "the switchover is taken back: the primary is what it was, and takes writes at position %d\n",
			aborted.Position)
	})
}

func newFailover(n *connection) *cobra.Command {
	var to string
	var force bool
	var accept uint64
	var at pointFlags
	c := &cobra.Command{
		Use:   "failover --to REGION --force | --accept-loss N",
		Short: "Make another region primary without the old one, which may lose writes",
		Long: "Make a region primary at its own last position, without asking the old primary. Writes that had not\n" +
			"arrived there are not part of the fleet's history any more; the old primary keeps them in a rescue\n" +
			"file when it comes back: see mimir tail. With --force and one of --at-position, --at-revision and\n" +
			"--at-time, a region that is kept delayed begins there, in what it has and does not show: what it\n" +
			"has behind that is saved in rescue files first, and never applied.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			point, err := at.point(c)
			bounded := c.Flags().Changed("accept-loss")
			switch {
			case err == nil && point != nil && !force:
				err = fmt.Errorf("%w: to begin in the past takes --force", errUsage)
			case err == nil && force && bounded:
				err = fmt.Errorf("%w: either --force, which accepts any loss, or --accept-loss, which bounds it",
					errUsage)
			}
			if err != nil {
				return err
			}
			if point != nil {
				return n.move(c, moveTimeout, func(ctx context.Context) (*replication.MoveReport, error) {
					return client.FailoverAt(ctx, to, *point)
				})
			}
			return n.move(c, moveTimeout, func(ctx context.Context) (*replication.MoveReport, error) {
				if bounded {
					return client.FailoverWithin(ctx, to, accept)
				}
				return client.Failover(ctx, to, force)
			})
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&to, "to", "", "region that becomes primary")
	c.Flags().BoolVar(&force, "force", false, "accept that writes may be lost, however many")
	c.Flags().Uint64Var(&accept, "accept-loss", 0, "where votes are taken: how many acknowledged writes may be lost; "+
		"if it could be more, nothing is done")
	at.add(c)
	completes(c, "to", n.regions)
	c.MarkFlagRequired("to")
	return c
}

func (n *connection) move(
	c *cobra.Command, within time.Duration, do func(context.Context) (*replication.MoveReport, error),
) error {
	ctx, cancel := context.WithTimeout(c.Context(), within)
	defer cancel()
	report, err := do(ctx)
	if err != nil {
		return err
	}
	return n.print(c.OutOrStdout(), report, func(w io.Writer) { printMove(w, report) })
}

// lossText says what is known of a loss. A node that is too old to say it knows a lower bound, and not where that came
// from.
func lossText(r *replication.MoveReport) string {
	if r.Loss != "" {
		return r.Loss
	}
	if r.Behind == 0 {
		return fmt.Sprintf("how much of %s is missing is unknown", r.From)
	}
	return fmt.Sprintf("how much of %s is missing is unknown; %d commands are known to be", r.From, r.Behind)
}

func printMove(w io.Writer, r *replication.MoveReport) {
	begins := fmt.Sprintf("epoch %d begins after position %d", r.Epoch, r.Position)
	switch r.From {
	case "":
		fmt.Fprintf(w, "%s is primary, after nobody: %s\n", r.To, begins)
	case r.To:
		fmt.Fprintf(w, "%s stays primary, and takes writes again: %s\n", r.To, begins)
	default:
		fmt.Fprintf(w, "%s is primary, after %s: %s\n", r.To, r.From, begins)
	}
	if r.Lossy && r.From == "" {
		fmt.Fprintln(w, "nobody that answered had a history; if one comes back with another, "+
			"what was written here may become a tail: see mimir tail list")
	} else if r.Lossy && r.From == r.To {
		fmt.Fprintf(w, "%s; if another region comes back with something else, it saves that: see mimir tail list\n",
			lossText(r))
	} else if r.Lossy {
		fmt.Fprintf(w, "%s. If %s comes back it saves what is missing: see mimir tail list\n", lossText(r), r.From)
	} else if r.Pause > 0 {
		fmt.Fprintf(w, "nothing was lost; writes paused for %s\n", r.Pause.Round(100*time.Microsecond))
	} else {
		fmt.Fprintln(w, "nothing was lost")
	}
	for _, text := range r.Warnings {
		fmt.Fprintln(w, "warning:", text)
	}
}
