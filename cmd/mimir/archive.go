package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/server/admin"
)

func newArchive() *cobra.Command {
	c := &cobra.Command{
		Use:   "archive",
		Short: "Look at the archived log of a fleet, prove that it leads from one snapshot to another, and prune it",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newArchiveStatus(), newArchiveVerify(), newArchivePrune())
	return c
}

func newArchiveStatus() *cobra.Command {
	var p places
	var fleet string
	n := &connection{endpoints: []string{"-"}}
	c := &cobra.Command{
		Use:   "status PLACE",
		Short: "Tell what is archived",
		Long: "Tell what is archived at PLACE, file:///folder or s3://bucket/prefix: the branches of the history,\n" +
			"that in force first, where each ends, and where what is archived begins, anew behind each gap.",
		Args: oneArgument("the place"),
		RunE: func(c *cobra.Command, arguments []string) error {
			if err := n.check(); err != nil {
				return err
			}
			a, err := openArchive(c.Context(), &p, arguments[0], fleet)
			if err != nil {
				return err
			}
			return n.print(c.OutOrStdout(), a.report(), a.tell)
		},
	}
	p.addFlags(c)
	c.Flags().StringVar(&fleet, "fleet", "", "whose archive; needed if the place has those of several")
	c.Flags().StringVarP(&n.output, "output", "o", "text", "text or json")
	return c
}

// archived is an archive that was looked at.
type archived struct {
	store    store.Store
	links    []archive.Link
	branches []archive.Branch
	broken   []archive.Broken
}

// openArchive looks at the archive of a fleet; if fleet is empty, of the only one in the place.
func openArchive(ctx context.Context, p *places, place, fleet string) (*archived, error) {
	s, err := p.store(place)
	if err != nil {
		return nil, err
	}
	if s, err = archive.OfOnly(ctx, s, fleet); err != nil {
		return nil, err
	}
	a := &archived{store: s}
	if a.links, err = archive.Links(ctx, s); err != nil {
		return nil, err
	}
	a.branches, a.broken, err = archive.Branches(ctx, s, a.links)
	return a, err
}

// replay returns the one along a branch; the one in force if epoch is zero.
func (a *archived) replay(epoch uint64, until archive.Target) (*archive.Replay, error) {
	b, err := archive.Choose(a.branches, a.broken, replication.Epoch(epoch))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.store, err)
	}
	return &archive.Replay{Store: a.store, Links: a.links, Branch: b[0], Others: b[1:], Until: until}, nil
}

type branchReport struct {
	Fleet    string               `json:"fleet"`
	Epoch    replication.Epoch    `json:"epoch"`
	Primary  string               `json:"primary"`
	Position replication.Position `json:"position"`
	Revision admin.Revision       `json:"revision,omitempty"` // 0: it was not looked at there
	Time     time.Time            `json:"time"`
	InForce  bool                 `json:"inForce"`
	// OtherHistory says that no failover gave it up for the one in force: of what the fleet was before it was formed
	// anew, or of a disk that went back.
	OtherHistory bool `json:"otherHistory,omitempty"`
}

type archiveStatus struct {
	Place    string                 `json:"place"`
	Segments int                    `json:"segments"`
	Begins   []replication.Position `json:"begins"`
	Branches []branchReport         `json:"branches"`
	Broken   []string               `json:"broken,omitempty"`
}

func (a *archived) report() *archiveStatus {
	s := &archiveStatus{Place: a.store.String(), Segments: len(a.links)}
	for _, l := range archive.Roots(a.links) {
		s.Begins = append(s.Begins, l.From.Position)
	}
	for i, b := range a.branches {
		s.Branches = append(s.Branches, branchReport{
			Fleet: b.Fleet, Epoch: b.Epoch(), Primary: timeline.Latest(b.Origin.Reigns).Primary,
			Position: b.Last.Position, Revision: admin.Revision(b.Last.Revision), Time: b.Last.Time, InForce: i == 0,
			OtherHistory: i > 0 && b.Apart(&a.branches[0]),
		})
	}
	for _, b := range a.broken {
		s.Broken = append(s.Broken, b.Err.Error())
	}
	return s
}

func (a *archived) tell(out io.Writer) {
	s := a.report()
	fmt.Fprintf(out, "%s: %d segments\n", s.Place, s.Segments)
	for i, p := range s.Begins {
		if i == 0 {
			fmt.Fprintf(out, "begins behind position %d\n", p)
		} else {
			fmt.Fprintf(out, "begins anew behind position %d: what leads there is not archived\n", p)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(s.Branches) > 0 {
		fmt.Fprintln(w, "\nBRANCH\tPRIMARY\tPOSITION\tREVISION\tARCHIVED\t")
	}
	for _, b := range s.Branches {
		text := "given up by a failover"
		switch {
		case b.InForce:
			text = "in force"
		case b.OtherHistory:
			text = "another history: the fleet, or a node, began anew, or a disk went back"
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\n", b.Epoch, b.Primary, b.Position, number(int64(b.Revision)),
			b.Time.Format(time.RFC3339Nano), text)
	}
	w.Flush()
	for _, text := range s.Broken {
		fmt.Fprintf(out, "broken: %s\n", text)
	}
}

func newArchiveVerify() *cobra.Command {
	var p places
	var epoch uint64
	c := &cobra.Command{
		Use:   "verify PLACE FROM TO",
		Short: "Prove that an archived log leads from one snapshot to a later one",
		Long: "Bring the snapshot FROM forward along the archived log to where the snapshot TO is, in a directory\n" +
			"of its own below --work-dir, which is removed again, and compare all of what comes of it with TO:\n" +
			"revision, keys, leases, users, the hash of the content, and the chain of the history.",
		Args: func(c *cobra.Command, arguments []string) error {
			if len(arguments) != 3 {
				return fmt.Errorf("%w: %s wants three arguments, the place and two files; got %d", errUsage,
					c.CommandPath(), len(arguments))
			}
			return nil
		},
		RunE: func(c *cobra.Command, arguments []string) error {
			return p.open(c.Context(), arguments[1], func(from *backup.Snapshot) error {
				a, err := openArchive(c.Context(), &p, arguments[0], from.Note.Fleet)
				if err != nil {
					return err
				}
				log, err := a.replay(epoch, archive.Target{})
				if err != nil {
					return err
				}
				return p.open(c.Context(), arguments[2], func(to *backup.Snapshot) error {
					sum, err := backup.VerifyLog(c.Context(), p.work, from, to, log)
					if err != nil {
						return err
					}
					_, err = fmt.Fprintf(c.OutOrStdout(), "verified: %s with the log is %s: revision %d, %d keys, "+
						"%d leases, hash %08x\n", arguments[1], arguments[2], sum.Revision, sum.Keys, sum.Leases,
						sum.Hash)
					return err
				})
			})
		},
	}
	p.addFlags(c)
	c.Flags().Uint64Var(&epoch, "branch", 0, "the branch to follow, by its epoch; default: the one in force")
	return c
}
