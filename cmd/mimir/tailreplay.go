package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
	"github.com/mimir-kv/mimir/server/admin"
)

// errLeftOver says that something of a tail was not replayed, or would not be.
var errLeftOver = errors.New("left over")

// tailReplay is mimir tail diff or replay.
type tailReplay struct {
	replaying
	n *connection
}

func newTailDiff(n *connection) *cobra.Command {
	r := &tailReplay{n: n, replaying: replaying{dry: true}}
	return r.command("diff NAME", "Show what of a tail still applies, and what conflicts",
		"Decide each write of a tail against today's history, as mimir tail replay does, and change nothing.\n")
}

func newTailReplay(n *connection) *cobra.Command {
	r := &tailReplay{n: n}
	c := r.command("replay NAME", "Do what of a tail still applies",
		"Do each write of a tail to today's history, as what it did when it was lost, if every key that it wrote or\n"+
			"compared is today as it was at the fork, or as the tail itself left it. What conflicts is not done, and\n"+
			"is listed with both values; so is what builds on it. Run again, it goes on where it was; but a key that\n"+
			"was not there at the fork, that a run put and that somebody deleted since, is put again.\n")
	c.Flags().BoolVar(&r.dry, "dry-run", false, "change nothing: mimir tail diff")
	return c
}

func (r *tailReplay) command(use, short, long string) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Long: long + "\nWith -o json, one object a line for each write, and one with the summary.\n\n" +
			"Exit status: 0 if everything is done or was there already, 4 if something conflicts or is left out.",
		Args: oneArgument("the name of a tail"),
		RunE: r.n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			return r.run(c, client, arguments[0])
		}),
	}
	r.n.addFlags(c)

	f := c.Flags()
	f.StringSliceVar(&r.only, "only", nil,
		"only what writes this key and no other; all keys that begin so, if it ends in / or *; may be repeated")
	f.Int64Var(&r.forkRevision, "fork-revision", 0,
		"the revision at the fork, where the fleet does not know it any more")
	f.BoolVar(&r.missingIsNew, "missing-is-new", false,
		"where the fork is compacted: what is not there today was not there at the fork either")
	f.IntVar(&r.maxOps, "max-txn-ops", 128, "what the nodes are configured with")
	f.IntVar(&r.maxBytes, "max-request-bytes", 3<<19, "what the nodes are configured with")
	return c
}

func (r *tailReplay) run(c *cobra.Command, client *admin.Client, name string) (err error) {
	ctx := c.Context()
	note := func(text string) { fmt.Fprintln(c.ErrOrStderr(), text) }
	if err := r.find(ctx, tailSearch{client: client}, name, note); err != nil {
		return err
	}
	t, err := r.n.today(ctx)
	if err != nil {
		return err
	}
	defer t.client.Close()
	shown := progressOf(c.ErrOrStderr(), r.tail.Commands)
	s, err := r.carryOut(ctx, t, shown.at, func(e *replay.Entry) error { return r.report(c.OutOrStdout(), e) })
	shown.end()
	if err != nil {
		return r.ended(err)
	}
	return r.conclude(c.OutOrStdout(), s)
}

// ended explains an end before the end.
func (r *tailReplay) ended(err error) error {
	if r.dry {
		return err
	}
	return fmt.Errorf("%w; the replay is not complete: run it again, what it did is recognised", err)
}
