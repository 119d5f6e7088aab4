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

func newRegion(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "region",
		Short: "See, add and remove regions of a fleet that runs, whom each follows, and one that takes a copy",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRegionList(n), newRegionAdd(n), newRegionRemove(n), newRegionMove(n), newRegionBootstrap(n))
	return c
}

// regionChanged is what an order about a region has done, and how the region is then.
type regionChanged struct {
	*replication.RegionChange
	// Status is how an added region is, when it follows; nil if that was not waited for.
	Status *replication.RegionStatus `json:"status,omitempty"`
}

func newRegionAdd(n *connection) *cobra.Command {
	var a replication.RegionAddition
	var noWait bool
	c := &cobra.Command{
		Use:   "add REGION --peers ADDR,...",
		Short: "Have a region be one of the fleet, and wait until it follows",
		Long: "Have a region be one of the fleet, and wait until it follows. All its nodes run, with empty data\n" +
			"directories, or a part of this history; their configuration has initial-cluster-state: existing, and\n" +
			"under regions any one region of the fleet. What was looked at and is to be done is told before it is;\n" +
			"with --dry-run that is all. How far the region is goes to standard error. Ctrl-C ends the waiting,\n" +
			"and so do ten minutes in which nothing is seen of the region, with exit status 1; neither takes\n" +
			"anything back. No file of any other node has to change: the regions are state of the fleet from then\n" +
			"on, and every node has to be of a version that knows that. With --source it follows that region, as by\n" +
			"mimir region move, and its first copy comes from there, while that is well. The region has no vote:\n" +
			"see mimir fleet change.",
		Example: "  mimir region add ap --peers 10.3.0.1:2380,10.3.0.2:2380,10.3.0.3:2380\n" +
			"  mimir region add ap --peers 10.3.0.1:2380 --source eu",
		Args: oneArgument("the name of a region"),
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			a.Region = arguments[0]
			dry := a.Try
			change, err := ordered(c, n, dry, func(ctx context.Context, try bool) (*replication.RegionChange, error) {
				a.Try = try
				return addRegion(ctx, client, a)
			})
			if err != nil {
				return err
			}
			done := &regionChanged{RegionChange: change}
			if !dry && !noWait {
				w := newRegionWatch(c.ErrOrStderr(), "was added")
				w.epoch, w.number = change.Epoch, change.Number
				if done.Status, err = w.await(c.Context(), client, a.Region); err != nil {
					return err
				}
			}
			return n.print(c.OutOrStdout(), done, func(w io.Writer) { printAdded(w, done, dry) })
		}),
	}
	n.addFlags(c)
	f := c.Flags()
	f.StringSliceVar(&a.Peers, "peers", nil, "where nodes of it are reached by other nodes, HOST:PORT")
	f.StringVar(&a.Source, "source", "", "the region that it is to follow, and has its copy of, or "+thePrimary+
		", the default")
	f.BoolVar(&a.Try, "dry-run", false, "look at everything, and change nothing")
	f.BoolVar(&noWait, "no-wait", false, "do not wait until it follows")
	return c
}

// addRegion orders that a region is added, and whom it follows, also where the primary is of a version that takes only
// one order at a time, or where a region that is there is to follow the primary again.
func addRegion(
	ctx context.Context, client *admin.Client, a replication.RegionAddition,
) (*replication.RegionChange, error) {
	said, whom := a.Source != "", "region "+a.Source
	if a.Source == thePrimary {
		a.Source, whom = "", "the "+thePrimary
	}
	change, err := client.Regions().Add(ctx, a)
	if err != nil || !said || change.Source == a.Source {
		return change, err
	}
	if a.Try {
		change.Steps = append(change.Steps, fmt.Sprintf("region %s is to follow %s then", a.Region, whom))
		return change, nil
	}
	sourced, err := client.Regions().Follow(ctx, replication.RegionSourcing{Region: a.Region, Source: a.Source})
	if err != nil {
		return nil, fmt.Errorf("region %s was added, and is not to follow %s yet, since: %w", a.Region, whom, err)
	}
	sourced.Steps = append(change.Steps, sourced.Steps...)
	return sourced, nil
}

func printAdded(w io.Writer, done *regionChanged, dry bool) {
	printSteps(w, done.RegionChange, dry)
	if s := done.Status; s != nil && s.Role == replication.RolePrimary {
		fmt.Fprintf(w, "region %s is the primary by now, at position %d\n", s.Name, s.Position)
	} else if s != nil {
		fmt.Fprintf(w, "region %s follows %s at position %d: %s behind\n", s.Name, s.Source, s.Position, lagText(s))
	}
	if !dry && done.Written {
		fmt.Fprintf(w, "it has no vote about the primary; to give it one where votes are taken: mimir fleet change "+
			"--add %s\n", done.Region)
	}
}

func newRegionRemove(n *connection) *cobra.Command {
	var r replication.RegionRemoval
	c := &cobra.Command{
		Use:   "remove REGION",
		Short: "Have a region be none of the fleet any more",
		Long: "Have a region be none of the fleet any more. Its vote goes, its slot with the log that is kept for\n" +
			"it, and what it acknowledged; nobody asks or serves it. Its nodes hear of that, end, and do not start\n" +
			"again on their data. What is to be done is told before it is; with --dry-run that is all. The primary\n" +
			"cannot be removed, nor a voter without which the others could not decide.",
		Args:              oneArgument("the name of a region"),
		ValidArgsFunction: n.firstRegion,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			r.Region = arguments[0]
			dry := r.Try
			change, err := ordered(c, n, dry, func(ctx context.Context, try bool) (*replication.RegionChange, error) {
				r.Try = try
				return client.Regions().Remove(ctx, r)
			})
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), change, func(w io.Writer) { printSteps(w, change, dry) })
		}),
	}
	n.addFlags(c)
	f := c.Flags()
	f.BoolVar(&r.Gone, "gone", false, "it does not answer: no node of it runs, and none comes back")
	f.BoolVar(&r.LoseTail, "lose-tail", false, "what it holds alone, since a failover cut it off, may be lost")
	f.BoolVar(&r.Try, "dry-run", false, "look at everything, and change nothing")
	return c
}

// ordered tries an order, tells what it would do, and then has it done, unless it is only tried.
func ordered(
	c *cobra.Command, n *connection, dry bool,
	do func(ctx context.Context, try bool) (*replication.RegionChange, error),
) (*replication.RegionChange, error) {
	ctx, cancel := context.WithTimeout(c.Context(), moveTimeout)
	defer cancel()
	change, err := do(ctx, true)
	if err != nil || dry {
		return change, err
	}
	if n.output != "json" {
		for _, step := range change.Steps {
			fmt.Fprintln(c.ErrOrStderr(), step)
		}
	}
	return do(ctx, false)
}

// printSteps tells what a change came to; its steps were told before it was made.
func printSteps(w io.Writer, c *replication.RegionChange, dry bool) {
	switch {
	case dry:
		for _, step := range c.Steps {
			fmt.Fprintln(w, step)
		}
		fmt.Fprintln(w, "nothing was changed")
	case !c.Written:
		fmt.Fprintln(w, "nothing had to be changed")
	default:
		fmt.Fprintf(w, "the fleet has the regions %s (roster %d of epoch %d)\n", strings.Join(c.Regions, ", "),
			c.Number, c.Epoch)
	}
}
