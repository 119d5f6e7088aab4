package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

func newRegionBootstrap(n *connection) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use:   "bootstrap REGION",
		Short: "Watch a region that takes a copy of another one, until it follows",
		Long: "Watch a region that takes a copy of another one's state, because it is new or the log does not\n" +
			"reach back to where it is: from whom, in which phase, bytes of bytes, how fast they come, and how\n" +
			"long the rest of that phase takes; a bar on a terminal, a line now and then elsewhere. What is not\n" +
			"known is called so. It ends when the region follows; Ctrl-C, or ten minutes in which nothing is seen\n" +
			"of the region, end the watching, and nothing else: a region begins a bootstrap by itself, and goes on\n" +
			"with it. With --no-wait it is shown once.",
		Example: "  mimir region bootstrap eu\n  mimir region bootstrap eu --no-wait -o json",
		Args:    oneArgument("the name of a region"), ValidArgsFunction: n.firstRegion,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			f, err := client.Fleet(c.Context())
			if err != nil {
				return err
			}
			r, err := bootstrapping(f, arguments[0])
			if err != nil {
				return err
			}
			if !noWait && !follows(r) {
				w := newRegionWatch(c.ErrOrStderr(), "was watched")
				if r, err = w.await(c.Context(), client, r.Name); err != nil {
					return err
				}
			}
			return n.print(c.OutOrStdout(), r, func(w io.Writer) { printBootstrap(w, r) })
		}),
	}
	n.addFlags(c)
	c.Flags().BoolVar(&noWait, "no-wait", false, "show how far it is, once")
	return c
}

// bootstrapping returns the region that is to be watched.
func bootstrapping(f *replication.FleetStatus, name string) (*replication.RegionStatus, error) {
	i := slices.IndexFunc(f.Regions, func(r replication.RegionStatus) bool { return r.Name == name })
	if i < 0 {
		names := make([]string, len(f.Regions))
		for i, r := range f.Regions {
			names[i] = r.Name
		}
		return nil, fmt.Errorf("%w: %s knows no region %s, but %s", errUsage, f.Asked, name, strings.Join(names, ", "))
	}
	r := &f.Regions[i]
	if r.Role == replication.RolePrimary {
		return nil, fmt.Errorf("region %s is the primary: it takes a copy of nobody", name)
	}
	return r, nil
}

func printBootstrap(w io.Writer, r *replication.RegionStatus) {
	switch {
	case r.Role == replication.RolePrimary:
		fmt.Fprintf(w, "region %s is the primary by now, at position %d\n", r.Name, r.Position)
	case follows(r):
		fmt.Fprintf(w, "region %s follows %s at position %d: %s behind\n", r.Name, r.Source, r.Position, lagText(r))
	default:
		fmt.Fprintf(w, "region %s: %s\n", r.Name, stageOf(r))
	}
}
