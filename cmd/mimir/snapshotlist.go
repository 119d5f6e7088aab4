package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication"
)

func newSnapshotList() *cobra.Command {
	var p places
	n := &connection{endpoints: []string{"-"}}
	fleet := ""
	c := &cobra.Command{
		Use:   "list PLACE --fleet FLEET",
		Short: "List the backups of a fleet that the schedule took",
		Long: "List the backups of a fleet that the schedule took, the oldest first, by their names and sizes, and\n" +
			"which are of what was given up, as the beginning of each says; status reads one. Of what cannot be\n" +
			"looked at, or not within a minute, the newest first, that is not known. PLACE is backup.to of the fleet.",
		Args: oneArgument("the place"),
		RunE: func(c *cobra.Command, arguments []string) error {
			if err := n.check(); err != nil {
				return err
			}
			s, err := p.store(arguments[0])
			if err != nil {
				return err
			}
			l, err := listOf(c.Context(), s, fleet, c.ErrOrStderr())
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), l, func(w io.Writer) { l.tell(w, s, fleet) })
		},
	}
	c.Flags().StringVar(&fleet, "fleet", replication.DefaultFleetID, "the fleet")
	c.Flags().StringVarP(&n.output, "output", "o", "text", "text or json")
	p.addFlags(c)
	return c
}

// backupList is what a place has of a fleet.
type backupList struct {
	Place   string            `json:"place"`
	Backups []schedule.Backup `json:"backups"`
	GivenUp []string          `json:"givenUp,omitempty"` // names of those that are of what was given up
	// NotKnown are names of those of which that is not known: they cannot be read, or there was no time.
	NotKnown []string `json:"notKnown,omitempty"`
}

// listOf lists them. Of what cannot be read it is said that it is not known where it is.
func listOf(ctx context.Context, s store.Store, fleet string, warn io.Writer) (*backupList, error) {
	found, err := schedule.Taken(ctx, s, fleet)
	if err != nil {
		return nil, err
	}
	places := schedule.Places{}
	if err := places.Locate(ctx, s, found, schedule.ReadPlace); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		fmt.Fprintf(warn, "mimir: of %d of %d backups it is not known whether they are of what was given up: %v\n",
			len(found)-len(places), len(found), err)
	}
	l := &backupList{Place: s.String(), Backups: found}
	for i := range found {
		at, known := places[found[i].Name]
		if found[i].Place = at; !known {
			l.NotKnown = append(l.NotKnown, found[i].Name)
		}
	}
	l.GivenUp = schedule.GivenUp(found, time.Now())
	return l, nil
}

func (l *backupList) tell(w io.Writer, s store.Store, fleet string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	what := map[string]string{}
	for _, name := range l.GivenUp {
		what[name] = "\tgiven up"
	}
	for _, name := range l.NotKnown {
		what[name] = "\tnot known"
	}
	for _, b := range l.Backups {
		fmt.Fprintf(t, "%s\t%s/%s\t%d bytes\t%s%s\n", b.At.Format(time.RFC3339), b.Region, b.Node, b.Bytes,
			store.Join(s, b.Name), what[b.Name])
	}
	t.Flush()
	fmt.Fprintf(w, "%d backups of fleet %s in %s\n", len(l.Backups), fleet, s)
	if n := len(l.GivenUp); n > 0 {
		fmt.Fprintf(w, "%d of them are of what was given up, as the furthest of the others tell: a failover cut off "+
			"what they have, or it was begun once more; restore one of those only for what was lost\n", n)
	}
	if n := schedule.Histories(l.Backups); n > 1 {
		fmt.Fprintf(w, "they are of %d histories, as the ends of their names say: the fleet, or a node, "+
			"was begun anew; look which one has what you want: the newest may have nothing\n", n)
	}
}
