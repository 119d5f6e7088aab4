package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/cmd/mimir/demo"
	"github.com/mimir-kv/mimir/cmd/mimir/dev"
	"github.com/mimir-kv/mimir/localfleet"
)

func newDemo() *cobra.Command {
	o, console := demo.Options{}, false
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play a failover of a real fleet on this machine, and tell what happened",
		Long: "Play a story with a real fleet on this machine: two regions, clients that write and one that\n" +
			"watches, a switchover, the loss of the primary's region, a forced failover, and its return. What is\n" +
			"told was measured in this run. It ends by itself, after about half a minute, and leaves nothing\n" +
			"behind.\n\n" +
			"Exit status: 1 if anything was not as it is promised, or it was interrupted; 2 wrong usage.",
		Example: "  mimir demo\n  mimir demo --console --writes 2000\n" +
			"  mimir demo --nodes 1 --wan-delay 100ms --rate 500",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkDemo(&o); err != nil {
				return err
			}
			executable, err := os.Executable()
			if err != nil {
				return err
			}
			o.Serve, o.Ready, o.Command = []string{executable, "serve"}, fleetReady, runs(executable)
			o.Out = c.OutOrStdout()
			if console {
				o.Opened = func(f *dev.Fleet) { openConsole(o.Out, f) }
			}
			if err := demo.Run(c.Context(), o); err != nil {
				return fmt.Errorf("the story did not come to its end: %w", err)
			}
			fmt.Fprintf(o.Out, "\nAll of it is gone. To break a fleet yourself: %s dev\n", invocation())
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", demo.DefaultNodes, "nodes of each region")
	f.DurationVar(&o.WANDelay, "wan-delay", demo.DefaultWANDelay, "delay between the regions, one way")
	f.IntVar(&o.Writes, "writes", demo.DefaultWrites, "writes that are acknowledged between one event and the next")
	f.BoolVar(&console, "console", false, "open the page on which the fleet is seen, in a browser")
	f.IntVar(&o.Rate, "rate", demo.DefaultRate, "writes a second, by all clients together")
	return c
}

// mostRate and mostWrites bound what the clients of mimir demo write, of which it keeps everything in mind.
const (
	mostRate   = 10_000
	mostWrites = 100_000
)

func checkDemo(o *demo.Options) error {
	switch {
	case o.Nodes < 1 || o.Nodes > 7 || o.Nodes%2 == 0:
		return fmt.Errorf("%w: --nodes %d: a region has 1, 3, 5 or 7", errUsage, o.Nodes)
	case o.WANDelay < 0 || o.WANDelay > time.Second:
		return fmt.Errorf("%w: --wan-delay %s is not between 0 and 1 s", errUsage, o.WANDelay)
	case o.Rate < 1 || o.Rate > mostRate:
		return fmt.Errorf("%w: --rate %d is not between 1 and %d", errUsage, o.Rate, mostRate)
	case o.Writes < 1 || o.Writes > mostWrites:
		return fmt.Errorf("%w: --writes %d is not between 1 and %d", errUsage, o.Writes, mostWrites)
	}
	return nil
}

// runs returns what runs this program with arguments, as it is shown. It hears nothing of the variables of whoever
// started this: they may name another fleet.
func runs(executable string) func(ctx context.Context, arguments ...string) (text string, done bool) {
	return func(ctx context.Context, arguments ...string) (string, bool) {
		c := exec.CommandContext(ctx, executable, arguments...)
		c.Env = localfleet.Environment()
		text, err := c.CombinedOutput()
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) {
			return err.Error(), false
		}
		return string(text), err == nil
	}
}
