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
	var policy func(o *replication.VoteChange) error
	maxLoss, witness := int64(0), ""
	c := &cobra.Command{
		Use:   "change [--remove VOTER] [--add REGION | --witness NAME=ADDR]",
		Short: "Change who votes about the primary, and by which rules",
		Long: "Change who votes about the primary, and by which rules; what is not named stays. The primary needs a\n" +
			"lease. To replace a voter, remove it and add another one in one command: a witness that is lost by one\n" +
			"of another name, a region that lost its disks by itself. For a moment one voter less votes, so that of\n" +
			"three both others are needed.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			if err := addWitness(&o, witness); err != nil {
				return err
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
			if err := policy(&o); err != nil {
				return err
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
	f.DurationVar(&lease, "lease", 0, "for how long voters support a primary that they do not hear. A lower "+
		"one counts for who starts anew once the promises of the former one ran out")
	f.DurationVar(&patience, "patience", 0, "how long a region waits after that before it asks for votes")
	f.Int64Var(&maxLoss, "max-loss", 0, "acknowledged writes that an automatic failover may lose; -1: any. A lower "+
		"number holds from the next epoch on: switch over at once, nobody may take over by itself until then")
	f.BoolVar(&stopWrites, "stop-writes", false, "writes wait where the other regions lag by more than --max-loss")
	policy = policyFlags(c)
	return c
}

// checkLoss refuses what is no budget.
func checkLoss(n int64) error {
	if n < -1 || n > math.MaxInt32 {
		return fmt.Errorf("%w: --max-loss %d is not -1, for any, nor 0 to %d", errUsage, n, math.MaxInt32)
	}
	return nil
}

// addWitness takes NAME=ADDR as the witness that is added; "": none is.
func addWitness(o *replication.VoteChange, text string) error {
	if text == "" {
		return nil
	}
	name, addr, err := witnessAt(text)
	o.Witness, o.Addrs = name, []string{addr}
	return err
}

// policyFlags adds the flags about how the primary moves by itself, and returns what takes those that were given.
func policyFlags(c *cobra.Command) func(o *replication.VoteChange) error {
	f := c.Flags()
	moves := f.Uint32("flap-limit", replication.DefaultFlap.Moves,
		"how often the primary moves by itself within --flap-window; 0: any number of times")
	within := f.Duration("flap-window", replication.DefaultFlap.Within, "see --flap-limit")
	failback := f.Duration("failback", 0, "for how long a region of a higher priority than the primary's has to keep "+
		"up before it takes over, by a switchover; 0: it does not by itself")
	priorities := f.StringToInt("priority", nil, "of a region that votes, REGION=N; the higher one is preferred, 0: "+
		"never primary by itself")
	return func(o *replication.VoteChange) error {
		if f.Changed("flap-limit") {
			o.FlapMoves = moves
		}
		if f.Changed("flap-window") {
			o.FlapWithin = within
		}
		if f.Changed("failback") {
			o.Failback = failback
		}
		for name, p := range *priorities {
			if p < 0 || p > math.MaxUint8 {
				return fmt.Errorf("%w: --priority %s=%d is not 0 to %d", errUsage, name, p, math.MaxUint8)
			}
			if o.Priorities == nil {
				o.Priorities = map[string]uint8{}
			}
			o.Priorities[name] = uint8(p)
		}
		return nil
	}
}
