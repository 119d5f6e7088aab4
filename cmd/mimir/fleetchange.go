package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

func newFleetChange(n *connection) *cobra.Command {
	var o replication.VoteChange
	var automatic, stopWrites bool
	var lease, patience time.Duration
	var maxLoss int64
	witness := ""
	c := &cobra.Command{
		Use:   "change [--remove VOTER] [--add REGION | --witness NAME=ADDR]",
		Short: "Change who votes about the primary, and by which rules",
		Long: "Change who votes about the primary, and by which rules; what is not named stays. The primary needs a\n" +
			"lease. To replace a voter, remove it and add another one in one command: a witness that is lost by one\n" +
			"of another name, a region that lost its disks by itself. For a moment one voter less votes, so that of\n" +
			"three both others are needed.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			if witness != "" {
				name, addr, err := witnessAt(witness)
				if err != nil {
					return err
				}
				o.Witness, o.Addrs = name, []string{addr}
			}
			given := c.Flags().Changed
			if given("automatic") {
				o.Automatic = &automatic
			}
			if given("lease") {
				o.Lease = &lease
			}
			if given("patience") {
				o.Patience = &patience
			}
			if given("max-loss") {
				if err := checkLoss(maxLoss); err != nil {
					return err
				}
				o.MaxLoss = new(uint64(maxLoss)) // -1: any
			}
			if given("stop-writes") {
				o.StopWrites = &stopWrites
			}
			return n.charter(c, func(ctx context.Context) (*replication.Charter, error) {
				return client.ChangeVotes(ctx, o)
			})
		}),
	}
	n.addFlags(c)
	f := c.Flags()
	f.StringVar(&o.Remove, "remove", "", "voter that votes no more: a region, or witness/NAME")
	f.StringVar(&o.Add, "add", "", "region that votes from now on")
	f.StringVar(&witness, "witness", "", "witness that votes from now on, NAME=ADDR")
	f.BoolVar(&automatic, "automatic", false, "let the primary move by itself; needs three voters")
	f.DurationVar(&lease, "lease", 0, "for how long voters support a primary that they do not hear; never less")
	f.DurationVar(&patience, "patience", 0, "how long a region waits after that before it asks for votes")
	f.Int64Var(&maxLoss, "max-loss", 0, "acknowledged writes that an automatic failover may lose; -1: any. A lower "+
		"number holds from the next epoch on: switch over")
	f.BoolVar(&stopWrites, "stop-writes", false, "writes wait where the other regions lag by more than --max-loss")
	return c
}

// checkLoss refuses what is no budget.
func checkLoss(n int64) error {
	if n < -1 || n > math.MaxInt32 {
		return fmt.Errorf("%w: --max-loss %d is not -1, for any, nor 0 to %d", errUsage, n, math.MaxInt32)
	}
	return nil
}
