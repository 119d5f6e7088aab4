package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/cmd/mimir/dev"
)

// breakable is what an order names first.
var breakable = []string{string(dev.KindNode), string(dev.KindRegion), string(dev.KindLink)}

func newDevBreak(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "break node|region|link NAME",
		Short: "Kill a node or a region of the fleet that runs, or cut what lies between two regions",
		Long: "Kill a node or all nodes of a region, as a power cut would, or cut the link between two regions, so\n" +
			"that nothing gets through and nobody is told. The fleet is that of the mimir dev that runs on\n" +
			"--data-dir; a witness is a node.",
		Example: "  mimir dev break region us\n  mimir dev break link us-eu\n  mimir dev break node eu-1",
		Args:    orderArguments(false),
		RunE:    ordering(dir, false),

		ValidArgsFunction: breakables(dir),
	}
}

func newDevHeal(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "heal [node|region|link NAME]",
		Short: "Undo what mimir dev break did, or all of it",
		Long: "Start a node, or all nodes of a region, again with what they have on disk, or let a link between two\n" +
			"regions pass again; what was on its way there is lost. Without a name all that is broken is healed.",
		Example: "  mimir dev heal\n  mimir dev heal region us",
		Args:    orderArguments(true),
		RunE:    ordering(dir, true),

		ValidArgsFunction: breakables(dir),
	}
}

// orderArguments takes a kind and a name, or where that is allowed nothing.
func orderArguments(none bool) cobra.PositionalArgs {
	return func(c *cobra.Command, arguments []string) error {
		if len(arguments) == 2 || none && len(arguments) == 0 {
			return nil
		}
		return fmt.Errorf("%w: %s: say what, node, region or link, and its name, as in %[2]s region us", errUsage,
			c.CommandPath())
	}
}

// ordering returns what break and heal do.
func ordering(dir *string, heal bool) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, arguments []string) error {
		o := dev.Order{Heal: heal}
		if len(arguments) == 2 {
			o.Kind, o.Name = dev.Kind(arguments[0]), arguments[1]
		}
		text, err := dev.Tell(c.Context(), *dir, o)
		switch {
		case errors.Is(err, dev.ErrOrder):
			return fmt.Errorf("%w: %w", errUsage, err)
		case errors.Is(err, dev.ErrNotRunning):
			return fmt.Errorf("%w; start it with %s dev, or name its directory with --data-dir", err, invocation())
		case err != nil:
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), text)
		return nil
	}
}
