package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// pruned is what a command let go of, or would.
type pruned struct {
	Place    string               `json:"place"`
	Position replication.Position `json:"position"` // of the snapshot
	Revision int64                `json:"revision"`
	Segments int                  `json:"segments"` // before
	Unneeded int                  `json:"unneeded"`
	DryRun   bool                 `json:"dryRun,omitempty"`
}

func newArchivePrune() *cobra.Command {
	var p places
	var dry bool
	var epoch uint64
	n := &connection{endpoints: []string{"-"}}
	c := &cobra.Command{
		Use:   "prune PLACE SNAPSHOT",
		Short: "Delete what of an archived log no snapshot needs that is as old as SNAPSHOT, or younger",
		Long: "Delete the segments at PLACE that end before where SNAPSHOT is, on whichever branch. Name the oldest\n" +
			"snapshot that is to be kept: no older one can be brought forward afterwards. It has to be whole, and\n" +
			"the branch in force, or the one that is named, has to lead on from it, or nothing is deleted. The\n" +
			"fleet may archive meanwhile.",
		Args: func(c *cobra.Command, arguments []string) error {
			if len(arguments) != 2 {
				return fmt.Errorf("%w: %s wants two arguments, the place and a snapshot; got %d", errUsage,
					c.CommandPath(), len(arguments))
			}
			return nil
		},
		RunE: func(c *cobra.Command, arguments []string) error {
			if err := n.check(); err != nil {
				return err
			}
			return p.open(c.Context(), arguments[1], func(s *backup.Snapshot) error {
				r, err := p.prune(c.Context(), arguments[0], s, epoch, dry)
				if err != nil {
					return without("what is archived stays", err)
				}
				return n.print(c.OutOrStdout(), r, r.tell)
			})
		},
	}
	p.addFlags(c)
	c.Flags().Uint64Var(&epoch, "branch", 0, "the branch that SNAPSHOT is on, by its epoch; default: the one in force")
	c.Flags().BoolVar(&dry, "dry-run", false, "delete nothing, and tell what would be")
	c.Flags().StringVarP(&n.output, "output", "o", "text", "text or json")
	return c
}

func (p *places) prune(
	ctx context.Context, place string, s *backup.Snapshot, epoch uint64, dry bool,
) (*pruned, error) {
	a, err := openArchive(ctx, p, place, s.Note.Fleet)
	if err != nil {
		return nil, err
	}
	sum, err := s.Look(ctx, p.work)
	if err != nil {
		return nil, err
	}
	if sum.Metadata == nil {
		return nil, fmt.Errorf("%w: the snapshot is empty", archive.ErrMissing)
	}
	b, err := archive.Choose(a.branches, a.broken, replication.Epoch(epoch))
	if err != nil {
		return nil, err
	}
	at := timeline.Cursor{Epoch: sum.Metadata.Epoch, Position: sum.Metadata.Position, Chain: sum.Metadata.Chain}
	state, err := timeline.DecodeRecord(sum.Metadata.Record, at)
	if err != nil {
		return nil, err
	}
	from := timeline.Origin{Cursor: at, Reigns: state.Reigns}
	if err := archive.LeadOn(ctx, a.store, a.links, b, from); err != nil {
		return nil, err
	}
	r := &pruned{Place: a.store.String(), Position: at.Position, Revision: sum.Revision, Segments: len(a.links),
		DryRun: dry}
	if dry {
		r.Unneeded = len(archive.Unneeded(a.links, at.Position))
		return r, nil
	}
	r.Unneeded, err = archive.Prune(ctx, a.store, at.Position)
	return r, err
}

func (r *pruned) tell(w io.Writer) {
	what := "deleted"
	if r.DryRun {
		what = "would delete"
	}
	fmt.Fprintf(w, "%s: %s %d of %d segments, which no snapshot needs of position %d (revision %d) or later\n", r.Place,
		what, r.Unneeded, r.Segments, r.Position, r.Revision)
}
