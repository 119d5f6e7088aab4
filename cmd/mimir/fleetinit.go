package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server/admin"
)

func newFleetInit(n *connection) *cobra.Command {
	primary := ""
	c := &cobra.Command{
		Use:   "init --primary REGION",
		Short: "Form a new fleet, once, whose nodes run with initial-cluster-state: existing",
		Long: "Have a region begin the history of a new fleet, if no region has one: all have to answer. It is\n" +
			"needed once, where the nodes run with initial-cluster-state: existing; every region afterwards joins\n" +
			"the fleet by itself. If there is a fleet, nothing is done.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), fleetTimeout)
			defer cancel()
			r, err := client.Found(ctx, primary)
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), r, func(w io.Writer) {
				fmt.Fprintf(w, "the fleet is formed: %s is primary, epoch %d\n", r.Primary, r.Epoch)
			})
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&primary, "primary", "", "region that takes writes first")
	c.MarkFlagRequired("primary")
	return c
}
