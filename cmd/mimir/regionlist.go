package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// regionList is what there is to say of which regions a fleet has.
type regionList struct {
	Fleet   string                  `json:"fleet"`
	Asked   string                  `json:"asked"`   // the node that made the picture
	Primary string                  `json:"primary"` // "" if none is known
	Epoch   replication.Epoch       `json:"epoch"`
	Roster  *replication.RosterMark `json:"roster,omitempty"` // nil: the asked node goes by its configuration
	Regions []listedRegion          `json:"regions"`
	// Partial are the partial regions that the asked node knows, none of which is a region of the roster.
	Partial []partialReport `json:"partial,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
}

// listedRegion is a region as the list has it. What is not known is "unknown", or null.
type listedRegion struct {
	Name      string                    `json:"name"`
	Role      string                    `json:"role"`
	Votes     string                    `json:"votes"`                  // yes, no, none-taken, unknown
	Source    string                    `json:"source"`                 // "": it is the primary
	Wanted    string                    `json:"wantedSource,omitempty"` // whom it is to follow; "": the primary
	Connected bool                      `json:"connected"`
	Position  *replication.Position     `json:"position"`
	Lag       replication.Lag           `json:"lag"`
	Slot      *replication.SlotPosition `json:"slot"`
	SlotKnown bool                      `json:"slotKnown"`
	KnownFrom string                    `json:"knownFrom"` // configuration, roster, unknown
	Addrs     []string                  `json:"addrs"`
	Nodes     []string                  `json:"nodes"` // peer addresses of its members, as they say
	Problem   string                    `json:"problem,omitempty"`
	lag       string
}

const unknown = "unknown"

func newRegionList(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "Show which regions the fleet has, from where that is known, and how each follows",
		Args:  noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			f, err := admin.GivingUp(client, silenceTimeout).Fleet(c.Context())
			if err != nil {
				return err
			}
			list := listRegions(f)
			if list.Partial, err = partialOf(c.Context(), client); err != nil {
				list.Notes = append(list.Notes, partialUnknown(err))
			}
			return n.print(c.OutOrStdout(), list, list.print)
		}),
	}
	n.addFlags(c)
	return c
}

// listRegions takes from the picture of a fleet what it says of which regions there are. It is pure.
func listRegions(f *replication.FleetStatus) *regionList {
	list := &regionList{Fleet: f.Fleet, Asked: f.Asked, Primary: f.Primary, Epoch: f.Epoch, Roster: f.Roster,
		Notes: f.Notes}
	for i := range f.Regions {
		r := &f.Regions[i]
		l := listedRegion{
			Name: r.Name, Role: or(string(r.Role)), Votes: or(string(r.Votes)), Source: r.Source,
			Wanted:    r.WantedSource,
			Connected: r.Connected, Lag: r.Lag, Slot: r.Slot, SlotKnown: r.SlotKnown,
			KnownFrom: or(string(r.KnownFrom)), Addrs: r.Addrs, Problem: r.Problem, lag: lagText(r),
			Nodes: peersOf(r),
		}
		if r.Heard {
			l.Position = &r.Position
		}
		if l.Source == "" && r.Role != replication.RolePrimary {
			l.Source = unknown
		}
		list.Regions = append(list.Regions, l)
	}
	return list
}

func or(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

func peersOf(r *replication.RegionStatus) (list []string) {
	for _, n := range r.Nodes {
		if n.PeerAddr != "" {
			list = append(list, n.PeerAddr)
		}
	}
	return list
}

func (l *regionList) print(w io.Writer) {
	for _, text := range l.Notes {
		fmt.Fprintln(w, "NOTE:", text)
	}
	from := "by the configuration of " + l.Asked
	if r := l.Roster; r != nil {
		from = fmt.Sprintf("roster %d of epoch %d, written by %s, as %s has it", r.Number, r.Epoch, r.By, l.Asked)
	}
	fmt.Fprintf(w, "fleet %s: regions %s\n\n", l.Fleet, from)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REGION\tROLE\tVOTES\tSOURCE\tLAG\tSLOT\tKNOWN FROM\tADDRESSES")
	for i := range l.Regions {
		fmt.Fprintln(t, strings.Join(l.Regions[i].row(), "\t"))
	}
	t.Flush()
	for i := range l.Regions {
		if r := &l.Regions[i]; r.Problem != "" {
			fmt.Fprintf(w, "%s: %s\n", r.Name, r.Problem)
		}
	}
	for _, p := range l.Partial {
		fmt.Fprintf(w, "partial region %s: follows only %s; never primary, and no region of the roster\n", p.Name,
			strings.Join(p.Prefixes, ", "))
	}
}

func (r *listedRegion) row() []string {
	votes := r.Votes
	if votes == string(replication.VoteNone) {
		votes = "-"
	}
	source := dash(r.Source)
	if r.Source != "" && r.Source != unknown && !r.Connected {
		source += " (not connected)"
	}
	if r.Wanted != "" && r.Wanted != r.Source {
		source += ", to be " + r.Wanted
	}
	addrs := r.Addrs
	if len(addrs) == 0 {
		addrs = r.Nodes
	}
	where := or(strings.Join(addrs, ","))
	return []string{r.Name, r.Role, votes, source, r.lag, r.slot(), r.KnownFrom, where}
}

func (r *listedRegion) slot() string {
	switch {
	case r.Role == string(replication.RolePrimary) && !r.SlotKnown:
		return "-"
	case !r.SlotKnown:
		return unknown
	case r.Slot == nil:
		return "none"
	case r.Slot.Lost:
		return fmt.Sprintf("%d, lost", r.Slot.Position)
	default:
		return fmt.Sprint(r.Slot.Position)
	}
}
