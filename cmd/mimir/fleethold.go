package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

func newFleetHold(n *connection) *cobra.Command {
	var d time.Duration
	end := false
	c := &cobra.Command{
		Use:   "hold --for DURATION | --end",
		Short: "Have the primary stay where it is, and go on while other voters are away",
		Long: "Have the primary stay where it is for a time, and take writes although other voters are away: for\n" +
			"planned work on them, or on the network between. Who can be reached now promises it, and a majority\n" +
			"has to be. Meanwhile no failover and no switchover moves it, and there is no bound to what is lost if\n" +
			"it is lost. It ends by itself, or with --end; see mimir fleet show.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			if end == (d != 0) || d < 0 {
				return fmt.Errorf("%w: either --for, or --end", errUsage)
			}
			return n.charter(c, func(ctx context.Context) (*replication.Charter, error) {
				return client.HoldPrimary(ctx, d)
			})
		}),
	}
	n.addFlags(c)
	c.Flags().DurationVar(&d, "for", 0, "how long from now, at most 24h; it takes the place of a hold before")
	c.Flags().BoolVar(&end, "end", false, "let it move again, as soon as a majority of the voters answers")
	return c
}
