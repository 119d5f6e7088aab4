package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// fleetReport is replication.FleetStatus with what only the store knows.
type fleetReport struct {
	*replication.FleetStatus
	// Survivable says that the loss of any one region would lose no acknowledged write.
	Survivable bool           `json:"survivable"`
	Regions    []regionReport `json:"regions"`
}

type regionReport struct {
	replication.RegionStatus
	Revision admin.Revision `json:"revision"` // -1 if no node of the region told
}

const revisionTimeout = 3 * time.Second

func newStatus(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the whole fleet",
		Args:  noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			report, err := inspect(c.Context(), client)
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), report, report.print)
		}),
	}
	n.addFlags(c)
	return c
}

// inspect asks one node for the fleet, and one node of each region for its revision.
func inspect(ctx context.Context, client *admin.Client) (*fleetReport, error) {
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	report := &fleetReport{FleetStatus: fleet, Survivable: true}
	for _, r := range fleet.Regions {
		report.Regions = append(report.Regions, regionReport{RegionStatus: r, Revision: -1})
		report.Survivable = report.Survivable && r.LossSurvivable
	}
	ctx, cancel := context.WithTimeout(ctx, revisionTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i := range report.Regions {
		r := &report.Regions[i]
		if urls := clientURLs(r.Nodes); len(urls) > 0 {
			wg.Go(func() {
				if node, err := client.At(urls...).Node(ctx); err == nil {
					r.Revision = node.Revision
				}
			})
		}
	}
	wg.Wait()
	return report, nil
}

// clientURLs returns where reachable nodes serve clients, the leader's first.
func clientURLs(nodes []replication.NodeStatus) []string {
	var first, rest []string
	for _, node := range nodes {
		switch {
		case node.Leader:
			first = append(first, node.ClientURLs...)
		case node.Reachable:
			rest = append(rest, node.ClientURLs...)
		}
	}
	return append(first, rest...)
}

func (f *fleetReport) print(w io.Writer) {
	primary := f.Primary
	if primary == "" {
		primary = "none"
	}
	fmt.Fprintf(w, "fleet %s, epoch %d, primary %s (as %s sees it)\n\n", f.Fleet, f.Epoch, primary, f.Asked)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REGION\tROLE\tEPOCH\tPOSITION\tREVISION\tLEADER\tNODES\tLAG")
	for _, r := range f.Regions {
		up := 0
		for _, node := range r.Nodes {
			if node.Reachable {
				up++
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%d/%d\t%s\n", r.Name, dash(string(r.Role)), r.Epoch, r.Position,
			number(int64(r.Revision)), dash(r.Leader), up, len(r.Nodes), lagText(&r.RegionStatus))
	}
	t.Flush()
	fmt.Fprintln(w)
	for _, r := range f.Regions {
		if text := r.problems(); text != "" {
			fmt.Fprintf(w, "%s: %s\n", r.Name, text)
		}
	}
	if f.Survivable {
		fmt.Fprintln(w, "Any one region can be lost without losing an acknowledged write.")
		return
	}
	for _, r := range f.Regions {
		if !r.LossSurvivable {
			fmt.Fprintf(w, "Losing region %s now would lose acknowledged writes: "+
				"no other region is known to have everything it has.\n", r.Name)
		}
	}
}

func (r *regionReport) problems() string {
	text := r.Problem
	for _, more := range []string{r.Activity, map[bool]string{true: "sealed for a switchover"}[r.Sealed]} {
		if text != "" && more != "" {
			text += "; "
		}
		text += more
	}
	return text
}

func lagText(r *replication.RegionStatus) string {
	switch {
	case r.Role == replication.RolePrimary || r.Role == "":
		return "-"
	case r.Lag.Seconds < 0:
		return "unknown"
	case r.Lag.AtLeast && r.Lag.Commands == 0:
		return fmt.Sprintf("unknown for %.2f s", r.Lag.Seconds)
	case r.Lag.AtLeast:
		return fmt.Sprintf("at least %d commands, %.2f s", r.Lag.Commands, r.Lag.Seconds)
	default:
		return fmt.Sprintf("%d commands, %s, %.2f s", r.Lag.Commands, byteText(r.Lag.Bytes), r.Lag.Seconds)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// byteText writes a size for people.
func byteText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, names := float64(n)/unit, "KMGTPE"
	for size >= unit && len(names) > 1 {
		size, names = size/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %ciB", size, names[0])
}
