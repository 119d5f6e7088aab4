package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/cmd/mimir/dev"
)

// completeTimeout is how long a shell waits for names that a fleet tells.
const completeTimeout = time.Second

// completes has a flag of c completed by what of returns.
func completes(c *cobra.Command, flag string, of cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, of); err != nil {
		panic(err) // there is no such flag: a mistake in this program
	}
}

// regions are the names of the regions of the fleet that the flags of c name; none if it does not tell them in time.
func (n *connection) regions(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	client, err := n.client(c.ErrOrStderr())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, r := range fleet.Regions {
		names = append(names, r.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// firstRegion completes the one argument of a command that is a region.
func (n *connection) firstRegion(c *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return n.regions(c, given, begun)
}

// breakables completes what an order to the fleet of mimir dev in a directory is about.
func breakables(dir *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, given []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		switch len(given) {
		case 0:
			names = breakable
		case 1:
			names = dev.Names(*dir, dev.Kind(given[0]))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
