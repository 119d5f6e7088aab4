package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server"
)

func newSnapshot(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "snapshot",
		Short: "Save the whole content of a fleet to a file, look at one, and begin a new fleet with it",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSnapshotSave(n), newSnapshotStatus(), newSnapshotRestore(), newSnapshotList())
	return c
}

func newSnapshotSave(n *connection) *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   "save FILE [--endpoints ENDPOINT]",
		Short: "Save a snapshot of one node to a new file",
		Long: "Save a snapshot of one node, all of it at one revision, to a new file. It is written beside it, to\n" +
			"FILE.NUMBER.part, and gets its name when all of it is there, was verified, and is durable. If it\n" +
			"breaks off, or the node says nothing for a minute, nothing is left: begin anew. The file holds users\n" +
			"with their hashes, and what tokens are signed with: keep it safe.\n" + placeHelp,
		Args: oneArgument("the file"),
		RunE: func(c *cobra.Command, arguments []string) error {
			s, took, err := n.save(c.Context(), arguments[0], &p, c.ErrOrStderr())
			if err != nil {
				return without("no snapshot saved", err)
			}
			return n.print(c.OutOrStdout(), map[string]any{"file": s.Path, "bytes": s.Bytes, "fleet": s.Note.Fleet,
				"node": s.Note.Node}, func(w io.Writer) {
				fmt.Fprintf(w, "saved %s: %d bytes of %s in %s\n", s.Path, s.Bytes, whose(s),
					took.Round(time.Millisecond))
			})
		},
	}
	n.addFlags(c)
	p.addFlags(c)
	return c
}

func (n *connection) save(
	ctx context.Context, to string, p *places, warn io.Writer,
) (*backup.Snapshot, time.Duration, error) {
	if err := n.check(); err != nil {
		return nil, 0, err
	}
	if len(n.endpoints) != 1 {
		return nil, 0, fmt.Errorf("%w: a snapshot is of one node, and --endpoints names %d", errUsage, len(n.endpoints))
	}
	dial, err := n.dialing(warn)
	if err != nil {
		return nil, 0, err
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	began := time.Now()
	heard := &aloud{ClientConn: conn, who: n.endpoints[0], bound: backup.Patience, to: warn}
	save := func(file string) (*backup.Snapshot, error) { return backup.Save(ctx, heard, file) }
	var s *backup.Snapshot
	if store.IsPlace(to) {
		s, err = p.save(ctx, to, save)
	} else {
		s, err = save(to)
	}
	return s, time.Since(began), err
}

// whose says of which fleet and node a snapshot is.
func whose(s *backup.Snapshot) string {
	if s.Note.Fleet == "" {
		return "a fleet that it does not name"
	}
	return fmt.Sprintf("node %s of region %s in fleet %s", s.Note.Node, s.Note.Region, s.Note.Fleet)
}

func newSnapshotStatus() *cobra.Command {
	var p places
	n := &connection{endpoints: []string{"-"}}
	c := &cobra.Command{
		Use:   "status FILE",
		Short: "Verify a snapshot and tell what it holds",
		Long: "Verify a snapshot and tell what it holds. All of it is read: it is unpacked into a directory below\n" +
			"--work-dir, as large as the file, which is removed again.\n" + placeHelp,
		Args: oneArgument("the file"),
		RunE: func(c *cobra.Command, arguments []string) error {
			if err := n.check(); err != nil {
				return err
			}
			return p.open(c.Context(), arguments[0], func(s *backup.Snapshot) error {
				sum, err := s.Look(c.Context(), p.work)
				if err != nil {
					return fmt.Errorf("%s: %w", arguments[0], err)
				}
				s.Path = arguments[0]
				return n.print(c.OutOrStdout(), statusOf(s, sum), func(w io.Writer) { tellSnapshot(w, s, sum) })
			})
		},
	}
	p.addFlags(c)
	c.Flags().StringVarP(&n.output, "output", "o", "text", "text or json")
	return c
}

func statusOf(s *backup.Snapshot, sum kv.Summary) map[string]any {
	m := map[string]any{
		"file": s.Path, "bytes": s.Bytes, "note": s.Note, "revision": sum.Revision, "compactRevision": sum.Compact,
		"keys": sum.Keys, "leases": sum.Leases, "hash": sum.Hash, "users": sum.Users,
		"follows": sum.Follows, "leaseSum": hex.EncodeToString(sum.LeaseSum[:]),
		"userSum": hex.EncodeToString(sum.UserSum[:]),
	}
	if at := sum.Metadata; at != nil {
		m["epoch"], m["position"], m["chain"] = at.Epoch, at.Position, hex.EncodeToString(at.Chain[:])
	}
	return m
}

func tellSnapshot(out io.Writer, s *backup.Snapshot, sum kv.Summary) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "file\t%s, whole, %d bytes\n", s.Path, s.Bytes)
	if s.Note.Fleet != "" {
		fmt.Fprintf(w, "of\t%s, cluster id %x\n", whose(s), s.Note.ClusterID)
		fmt.Fprintf(w, "made\t%s, by mimir %s\n", s.Note.Created.Format(time.RFC3339), s.Note.Version)
	} else {
		fmt.Fprintf(w, "of\t%s: made by a version before this one\n", whose(s))
	}
	fmt.Fprintf(w, "revision\t%d\n", sum.Revision)
	if sum.Compact > 0 {
		fmt.Fprintf(w, "compacted at\t%d\n", sum.Compact)
	}
	fmt.Fprintf(w, "keys\t%d\n", sum.Keys)
	fmt.Fprintf(w, "leases\t%d, with their times %x\n", sum.Leases, sum.LeaseSum[:8])
	if sum.Users {
		fmt.Fprintf(w, "users\t%x, with roles\n", sum.UserSum[:8])
	}
	fmt.Fprintf(w, "hash\t%08x, as HashKV of a node at this revision says\n", sum.Hash)
	if sum.Follows {
		fmt.Fprintf(w, "follows\tan etcd: it took no writes of clients when this was taken\n")
	}
	if at := sum.Metadata; at != nil {
		fmt.Fprintf(w, "history\tepoch %d, position %d, chain %v\n", at.Epoch, at.Position, at.Chain)
	}
	w.Flush()
}

func newSnapshotRestore() *cobra.Command {
	var file string
	var move kv.Move
	var open bool
	var log logFlags
	var p places
	c := &cobra.Command{
		Use:   "restore FILE --config FILE",
		Short: "Make a data directory with which a node of a new fleet begins",
		Long: "Make the data directory of one node of a new fleet, which begins with a snapshot. What serve needs\n" +
			"to know it needs too, from the same configuration file, environment and flags: data-dir, which must be\n" +
			"empty, the name, region and nodes, and fleet, which must be another one than that of the snapshot. Do\n" +
			"the same, with the same file and flags, for all nodes of the region of initial-primary; start them.\n" +
			"Nodes of other regions are restored likewise, or start with empty directories and take a copy.\n\n" +
			"With --archive the snapshot is brought forward along an archived log, to a revision or a time.\n\n" +
			"Done twice for a node, it is refused as long as the directory holds the first one. Where the fleet\n" +
			"has run since, a node with a directory that was emptied and restored anew has forgotten what it\n" +
			"acknowledged: it is found out and takes no part. Replace it by one with an empty directory and a new\n" +
			"name.\n" + placeHelp,
		Args: oneArgument("the snapshot"),
		RunE: func(c *cobra.Command, arguments []string) error {
			config, err := server.Load(file, os.LookupEnv, c.Flags())
			if err != nil {
				return err
			}
			if move.Compact && move.Bump == 0 || move.Bump < 0 {
				return fmt.Errorf("%w: --mark-compacted needs --bump-revision of more than 0: else revisions that "+
					"were seen come back", errUsage)
			}
			until, err := log.target(c)
			if err != nil {
				return err
			}
			p.CredentialsFile, p.CAFile = config.Backup.CredentialsFile, config.Backup.CAFile
			return p.open(c.Context(), arguments[0], func(s *backup.Snapshot) error {
				content := &backup.Restoring{Context: c.Context(), Snapshot: s, Move: move, Open: open}
				if content.Log, err = log.replay(c.Context(), &p, s.Note.Fleet, until); err != nil {
					return err
				}
				return restore(c, config, content, arguments[0])
			})
		},
	}
	c.Flags().StringVar(&file, "config", os.Getenv("MIMIR_CONFIG"), "configuration file of the node, YAML")
	c.Flags().Int64Var(&move.Bump, "bump-revision", 0,
		"how far the revision moves: further than anything was written behind the snapshot")
	c.Flags().BoolVar(&move.Compact, "mark-compacted", false,
		"make all before the new revision unreadable, so that every watch of before ends with a compacted error")
	c.Flags().BoolVar(&open, "open", false,
		"make a fleet that takes clients' writes of one that followed an etcd when this was taken")
	log.add(c)
	server.AddFlags(c.Flags())
	p.addWorkFlag(c)
	return c
}

// restore restores a snapshot, which was given as file.
func restore(c *cobra.Command, config *server.Config, content *backup.Restoring, file string) error {
	s := content.Snapshot
	r := &config.Replication
	if fleet := fleetOf(r); s.Note.Fleet == fleet {
		return fmt.Errorf("%w: %s is of fleet %s, and so would be what is restored: name another fleet, so that "+
			"no node of one is ever taken for one of the other", server.ErrConfig, file, fleet)
	}
	if s.Note.Fleet == "" {
		fmt.Fprintf(c.ErrOrStderr(), "mimir: %s does not say of which fleet it is: make sure that it is not %s\n", file,
			fleetOf(r))
	}
	if err := server.Sow(config, content, c.ErrOrStderr()); errors.Is(err, backup.ErrFollows) {
		return fmt.Errorf("%w; --open makes a fleet of it that takes clients' writes; to follow on, import anew: "+
			"mimir import --follow", err)
	} else if err != nil {
		return err
	}
	if content.Log != nil {
		tellReached(c.OutOrStdout(), content.Log, content.Reached)
	}
	at := content.Found
	_, err := fmt.Fprintf(c.OutOrStdout(), "restored %s for node %s of region %s in fleet %s: revision %d, %d keys, "+
		"%d leases\n", r.DataDir, r.NodeID, r.RegionID, fleetOf(r), at.Revision+content.Move.Bump, at.Keys, at.Leases)
	return err
}

func fleetOf(r *replication.Config) string {
	if r.FleetID == "" {
		return replication.DefaultFleetID
	}
	return r.FleetID
}
