package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

func newFleetInit(n *connection) *cobra.Command {
	primary := ""
	c := &cobra.Command{
		Use:   "init --primary REGION",
		Short: "Form a new fleet, once, whose nodes run with initial-cluster-state: existing",
		Long: "Have a region begin the history of a new fleet, if no region has one: all have to answer. It is\n" +
			"needed once, where the nodes run with initial-cluster-state: existing; every region afterwards joins\n" +
			"the fleet by itself. If there is a fleet, nothing is done.\n\n" +
			"With the region of the node to which it is sent, where that waits for others of its region (mimir\n" +
			"status says so), it forms that region with the nodes that answer and are empty, at least a majority,\n" +
			"and names those that are left out. Whoever orders it vouches for them: whatever they acknowledged is\n" +
			"not part of the region, and they join it with empty data directories alone. It is refused while a node\n" +
			"that answers holds data of the region.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), moveTimeout)
			defer cancel()
			r, err := client.Found(ctx, primary)
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), r, func(w io.Writer) {
				if f := r.Formed; f != nil {
					tellFormed(w, f, primary)
					return
				}
				fmt.Fprintf(w, "the fleet is formed: %s is primary, epoch %d\n", r.Primary, r.Epoch)
			})
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&primary, "primary", "", "region that takes writes first")
	c.MarkFlagRequired("primary")
	return c
}

// tellFormed tells with and without whom a region was formed, and what that means.
func tellFormed(w io.Writer, f *replication.Formation, primary string) {
	fmt.Fprintf(w, "region %s is formed", f.Region)
	if len(f.Nodes) > 0 {
		fmt.Fprintf(w, " with %s", strings.Join(f.Nodes, ", "))
	}
	fmt.Fprintln(w)
	if len(f.Left) > 0 {
		fmt.Fprintf(w, "without %s: by your word, nothing that was acknowledged there is part of the region; it joins "+
			"with an empty data directory, and does not start with another\n", strings.Join(f.Left, ", "))
	}
	fmt.Fprintf(w, "the region now joins the fleet; if no region has a history and initial-cluster-state is "+
		"existing, form it, once: mimir fleet init --primary %s\n", primary)
}
