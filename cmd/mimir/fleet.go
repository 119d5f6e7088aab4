package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/admin"
)

// fleetTimeout bounds a look at the fleet.
const fleetTimeout = 30 * time.Second

func newFleet(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "Form a fleet; see and change how the primary moves by itself",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newFleetInit(n), newFleetEnable(n), newFleetShow(n), newFleetPause(n), newFleetResume(n),
		newFleetHold(n), newFleetChange(n), newFleetRecover(n))
	return c
}

func newFleetEnable(n *connection) *cobra.Command {
	d := replication.DefaultVotes()
	o := server.Failover{
		Automatic: d.Automatic, Lease: d.Lease, Patience: d.Patience, DriftPPM: int(d.DriftPPM),
		MaxLoss: int(d.MaxLoss),
	}
	var witnesses []string
	c := &cobra.Command{
		Use:   "enable [--witness NAME=ADDR]...",
		Short: "Have regions and witnesses vote about who is primary",
		Long: "Have regions and witnesses vote about who is primary from now on. Every node of every region has to\n" +
			"run, and to be of a version that knows votes. It cannot be taken back, only paused.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			o.Witnesses = map[string][]string{}
			for _, w := range witnesses {
				name, addr, err := witnessAt(w)
				if err != nil {
					return err
				}
				o.Witnesses[name] = append(o.Witnesses[name], addr)
			}
			if err := checkLoss(int64(o.MaxLoss)); err != nil {
				return err
			}
			return n.charter(c, func(ctx context.Context) (*replication.Charter, error) {
				return client.EnableVotes(ctx, o.Settings())
			})
		}),
	}
	n.addFlags(c)
	f := c.Flags()
	f.BoolVar(&o.Automatic, "automatic", o.Automatic, "let the primary move by itself; needs three voters")
	f.DurationVar(&o.Lease, "lease", o.Lease, "for how long voters support a primary that they do not hear")
	f.DurationVar(&o.Patience, "patience", o.Patience, "how long a region waits after that before it asks for votes")
	f.IntVar(&o.MaxLoss, "max-loss", o.MaxLoss, "acknowledged writes that an automatic failover may lose; -1: any")
	f.BoolVar(&o.StopWrites, "stop-writes", false, "writes wait where the other regions lag by more than --max-loss")
	f.StringArrayVar(&witnesses, "witness", nil, "a witness, NAME=ADDR; may be repeated")
	return c
}

// witnessAt takes NAME=ADDR apart.
func witnessAt(text string) (name, addr string, err error) {
	name, addr, ok := strings.Cut(text, "=")
	if !ok || name == "" || addr == "" {
		return "", "", fmt.Errorf("%w: --witness %q is not NAME=ADDR", errUsage, text)
	}
	return name, addr, nil
}

func (n *connection) charter(c *cobra.Command, do func(context.Context) (*replication.Charter, error)) error {
	ctx, cancel := context.WithTimeout(c.Context(), moveTimeout)
	defer cancel()
	charter, err := do(ctx)
	if err != nil {
		return err
	}
	return n.print(c.OutOrStdout(), charter, func(w io.Writer) {
		var voters []string
		for _, v := range charter.Voters {
			voters = append(voters, v.ID)
		}
		fmt.Fprintf(w, "charter %d of epoch %d: %s vote; %s\n", charter.Number, charter.Epoch,
			strings.Join(voters, ", "), moves(len(voters), charter.Automatic, charter.Paused))
		if charter.Hold != nil {
			fmt.Fprintf(w, "it is held until %s\n", charter.Hold.Until.UTC().Format(time.RFC3339))
		}
	})
}

func moves(voters int, automatic bool, paused string) string {
	switch {
	case voters == 1:
		return "nobody else votes, and the primary stays where it is; see mimir fleet enable"
	case !automatic:
		return "the primary moves by hand"
	case paused != "":
		return "automatic failover is paused: " + paused
	default:
		return "the primary moves by itself"
	}
}

func newFleetPause(n *connection) *cobra.Command {
	reason := ""
	c := &cobra.Command{
		Use:   "pause --reason TEXT",
		Short: "Have nothing move by itself, until it is resumed",
		Args:  noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			if reason == "" {
				return fmt.Errorf("%w: --reason is empty", errUsage)
			}
			return n.charter(c, func(ctx context.Context) (*replication.Charter, error) {
				return client.PauseFailover(ctx, reason)
			})
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for those who read mimir fleet show")
	c.MarkFlagRequired("reason")
	return c
}

func newFleetResume(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "resume",
		Short: "Let the primary move by itself again",
		Args:  noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			return n.charter(c, func(ctx context.Context) (*replication.Charter, error) {
				return client.PauseFailover(ctx, "")
			})
		}),
	}
	n.addFlags(c)
	return c
}

func newFleetRecover(n *connection) *cobra.Command {
	keep, stopped := "", false
	var at pointFlags
	c := &cobra.Command{
		Use:   "recover --keep REGION --others-are-stopped",
		Short: "Go on with one region, where a majority of votes is lost for good",
		Long: "Make a region primary, and the only voter, without asking the others. What it has not is lost to the\n" +
			"fleet. It is safe only if no client reaches the other regions any more: nobody asks them. When enough\n" +
			"of them are back, mimir fleet enable has them vote again. A region that is kept delayed can begin at\n" +
			"a point in what it has and does not show: see mimir failover.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			if !stopped {
				return fmt.Errorf("%w: --others-are-stopped says that you have seen to that", errUsage)
			}
			point, err := at.point(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), recoveryTimeout(c.Context(), client))
			defer cancel()
			r, err := client.RecoverVotes(ctx, keep, point)
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), r, func(w io.Writer) {
				fmt.Fprintf(w, "%s is primary, and the only voter: epoch %d begins after position %d\n", r.Primary,
					r.Epoch, r.First-1)
			})
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&keep, "keep", "", "region that goes on")
	c.Flags().BoolVar(&stopped, "others-are-stopped", false, "no client reaches the others any more")
	at.add(c)
	completes(c, "keep", n.regions)
	c.MarkFlagRequired("keep")
	return c
}

// recoveryTimeout bounds a recovery: longer than the node does that would be asked.
func recoveryTimeout(ctx context.Context, client *admin.Client) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	node, err := client.Node(ctx)
	if err != nil {
		return moveTimeout
	}
	return admin.RecoveryTime(node.Votes) + beyondNode
}

func newFleetShow(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show who votes, who supports the primary, and what it may acknowledge",
		Long: "Show who votes, who supports the primary, and what it may acknowledge, by the word of the leader\n" +
			"of the primary, or of who else knows. That no votes are taken is said by that leader alone: where it\n" +
			"does not answer, and nobody who does knows of votes, the exit status is 1.",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), fleetTimeout)
			defer cancel()
			v, err := votes(ctx, client)
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), v, func(w io.Writer) { printVotes(w, v) })
		}),
	}
	n.addFlags(c)
	return c
}

// unbounded is a ceiling above every position.
const unbounded = replication.Position(replication.AnyLoss)

// lossless says what a write waits for where nothing may be lost, and what that is worth.
func lossless(v *replication.VoteStatus) string {
	switch {
	case v.Ceiling == 0:
		return "it acknowledges nothing until a majority of the voters keeps this charter"
	case v.Spread == 0:
		return "a failover by itself loses none; for how many regions each write waits, its node is too old to say"
	case v.Spread == 1:
		return "no write waits for another region, since no other one votes: whoever loses " + v.For + " loses what " +
			"others do not have"
	default:
		return fmt.Sprintf("each write waits until %d regions have it, and a failover loses none", v.Spread)
	}
}

func printVotes(w io.Writer, v *replication.VoteStatus) {
	if v == nil {
		fmt.Fprintln(w, "no votes are taken: the primary is moved by hand; see mimir fleet enable")
		return
	}
	former := ""
	if v.Former > 0 {
		former = fmt.Sprintf(", promises of %s may be left", v.Former)
	}
	fmt.Fprintf(w, "charter %d of epoch %d: %s; lease %s%s\n", v.Charter, v.Epoch,
		moves(len(v.Voters), v.Automatic, v.Paused), v.Lease, former)
	printHold(w, v)
	switch {
	case v.Fenced:
		fmt.Fprintf(w, "%s is fenced for %.1f s: it acknowledges nothing\n", v.For, v.FencedFor.Seconds())
	case v.Holds && (v.MaxLoss == replication.AnyLoss || v.MaxLoss != 0 && v.Ceiling == unbounded):
		fmt.Fprintf(w, "%s has a lease for %.1f s more; a failover may lose any number of writes\n", v.For,
			v.Left.Seconds())
	case v.Holds && v.MaxLoss == 0:
		fmt.Fprintf(w, "%s has a lease for %.1f s more; %s\n", v.For, v.Left.Seconds(), lossless(v))
	case v.Holds:
		fmt.Fprintf(w, "%s has a lease for %.1f s more, and may acknowledge up to position %d; a failover may lose "+
			"%d\n", v.For, v.Left.Seconds(), v.Ceiling, v.MaxLoss)
	default:
		fmt.Fprintf(w, "the leader of the primary does not answer; the vote here is for %s in epoch %d\n", v.For,
			v.Promised)
	}
	printMoves(w, v)
	if v.Why != "" {
		fmt.Fprintln(w, "does not take over:", v.Why)
	}
	for _, o := range v.Voters {
		state := "supports the primary"
		if !o.Supports {
			state = "-"
		}
		if o.Problem != "" {
			state = fmt.Sprintf("for %.1f s: %s", o.ProblemFor.Seconds(), o.Problem)
		}
		fmt.Fprintf(w, "  %-16s priority %-4d %s\n", o.ID, o.Priority, state)
	}
	for _, region := range slices.Sorted(maps.Keys(v.Priorities)) {
		fmt.Fprintf(w, "  %-16s priority %-4d does not vote, and gets this priority again when it does\n", region,
			v.Priorities[region])
	}
}

// printHold says what is known of a hold: not that it is on, where it is over by now and only its end was not heard of.
func printHold(w io.Writer, v *replication.VoteStatus) {
	until := v.HeldUntil.UTC().Format(time.RFC3339)
	switch {
	case v.HeldUntil.IsZero():
	case v.HeldLeft == 0:
		fmt.Fprintf(w, "it was held until %s: that is over by now at the latest, and its end is not heard of yet\n",
			until)
	case v.HeldEnds:
		fmt.Fprintf(w, "it is held until a majority of the voters answers, at most until %s: its end was ordered\n",
			until)
	default:
		fmt.Fprintf(w, "it is held until %s, for %v more at most: it stays where it is, and goes on while other "+
			"voters are away\n", until, v.HeldLeft.Round(time.Second))
	}
}

// printMoves says how often the primary moved by itself, and what it does next.
func printMoves(w io.Writer, v *replication.VoteStatus) {
	if n := len(v.Moves); n > 0 && v.FlapMoves > 0 {
		fmt.Fprintf(w, "moves by itself: %d of %d within %v\n", n, v.FlapMoves, v.FlapWithin)
	}
	if !v.KeptUntil.IsZero() {
		fmt.Fprintf(w, "it does not move by itself before %s; by order it does\n",
			v.KeptUntil.UTC().Format(time.RFC3339))
	}
	if v.Return != "" {
		fmt.Fprintln(w, v.Return)
	}
}
