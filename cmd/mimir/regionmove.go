package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// thePrimary is the source of who follows the primary, whichever region that is.
const thePrimary = "primary"

func newRegionMove(n *connection) *cobra.Command {
	var o replication.RegionSourcing
	c := &cobra.Command{
		Use:   "move REGION --source OTHER|primary",
		Short: "Have a region follow another secondary instead of the primary, or the primary again",
		Long: "Have a region follow another secondary instead of the primary, or the primary again. It does so\n" +
			"while it is secondary and the other is well; else it follows the primary, or any other region with\n" +
			"the same history, by itself, and goes back when the other has been well for ten seconds. No copy is\n" +
			"taken. Its lag is what it is behind the primary, and what it has counts for writes that wait for\n" +
			"other regions. Every node has to be of a version that knows that (level 13).",
		Example:           "  mimir region move ap --source eu\n  mimir region move ap --source primary",
		Args:              oneArgument("the name of a region"),
		ValidArgsFunction: n.firstRegion,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			o.Region = arguments[0]
			switch o.Source {
			case "":
				return fmt.Errorf("%w: --source says whom it is to follow: a region, or %s", errUsage, thePrimary)
			case thePrimary:
				o.Source = ""
			}
			dry := o.Try
			change, err := ordered(c, n, dry, func(ctx context.Context, try bool) (*replication.RegionChange, error) {
				o.Try = try
				return client.Regions().Follow(ctx, o)
			})
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), change, func(w io.Writer) { printSteps(w, change, dry) })
		}),
	}
	n.addFlags(c)
	f := c.Flags()
	f.StringVar(&o.Source, "source", "", "the region that it is to follow, or "+thePrimary)
	f.BoolVar(&o.Try, "dry-run", false, "look at everything, and change nothing")
	return c
}
