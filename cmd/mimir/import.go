package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/etcd"
	"github.com/mimir-kv/mimir/backup/live"
	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/backup/whole"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/server"
)

// importing makes a data directory of what an etcd has.
type importing struct {
	from, keep       string
	unsummed, follow bool
	origin           origin
}

func newImport() *cobra.Command {
	var file string
	i := &importing{}
	c := &cobra.Command{
		Use:   "import --from SNAPSHOT|URL --config FILE",
		Short: "Make a data directory with which a node of a new fleet begins, of a snapshot of etcd",
		Long: "Make the data directory of one node of a new fleet, which begins with what an etcd v3 had, from a\n" +
			"file of etcdctl snapshot save: with the same revisions, versions and leases, and with users, roles and\n" +
			"their passwords. What serve needs to know it needs too, from the same configuration file, environment\n" +
			"and flags. Do the same, with the same file, for all nodes of the region of initial-primary, and start\n" +
			"them; nodes of other regions likewise, or with empty directories. Alarms and members are not taken.\n\n" +
			"--from takes URLs of a running etcd too, http://… or https://…, of which the snapshot is taken\n" +
			"first: keep it with --keep for the other nodes. With --follow the fleet takes no writes of clients,\n" +
			"but what mimir import follow brings of the etcd, until mimir import finish: a move without downtime.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := server.Load(file, os.LookupEnv, c.Flags())
			if err != nil {
				return err
			}
			return i.run(c, config)
		},
	}
	f := c.Flags()
	f.StringVar(&i.from, "from", "", "file that etcdctl snapshot save wrote, or URLs of the members of a running etcd")
	f.StringVar(&i.keep, "keep", "", "new file where the snapshot of a running etcd stays, for other nodes")
	f.StringVar(&file, "config", os.Getenv("MIMIR_CONFIG"), "configuration file of the node, YAML")
	f.BoolVar(&i.unsummed, "skip-hash-check", false,
		"take a file without SHA-256, which was copied from the data directory of a member that was stopped")
	f.BoolVar(&i.follow, "follow", false, "have the fleet follow the etcd until mimir import finish")
	c.MarkFlagRequired("from")
	i.origin.addFlags(c)
	server.AddFlags(f)
	c.AddCommand(newImportFollow(), newImportVerify(), newImportFinish())
	return c
}

func (i *importing) run(c *cobra.Command, config *server.Config) (err error) {
	s, drop, err := i.snapshot(c, config.Replication.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	content := &etcd.Import{Context: c.Context(), Snapshot: s, Follow: i.follow}
	if err := server.Sow(config, content, c.ErrOrStderr()); err != nil {
		return err
	}
	r, then := &config.Replication, ""
	if i.follow {
		then = "; it takes no writes of clients before mimir import finish"
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "imported %s into %s for node %s of region %s in fleet %s: %s%s\n",
		i.from, r.DataDir, r.NodeID, r.RegionID, fleetOf(r), tellFound(content.Found), then)
	return err
}

// snapshot returns the snapshot, and what is to be called when it is not needed any more. That of a running etcd is
// saved beside the data directory, if it is not kept elsewhere.
func (i *importing) snapshot(
	c *cobra.Command, dir string,
) (s *etcd.Snapshot, drop func() error, err error) {
	ctx := c.Context()
	drop = func() error { return nil }
	if !strings.Contains(i.from, "://") {
		if i.keep != "" {
			return nil, nil, fmt.Errorf("%w: --keep is for a running etcd, and --from names a file", errUsage)
		}
		s, err := etcd.OpenUntil(ctx, i.from, i.unsummed)
		return s, drop, err
	}
	for _, at := range splitList(i.from) {
		if scheme, _, _ := strings.Cut(at, "://"); scheme == "s3" || scheme == "file" {
			return nil, nil, fmt.Errorf("%w: --from takes a file that etcdctl snapshot save wrote, by its path, or "+
				"http:// and https:// URLs of a running etcd, and this is %s://: bring the object here first; what "+
				"mimir snapshot save wrote is for mimir snapshot restore", errUsage, scheme)
		}
	}
	i.origin.endpoints = splitList(i.from)
	dial, err := i.origin.dialing(c.ErrOrStderr())
	if err != nil {
		return nil, nil, err
	}
	file := i.keep
	if file == "" {
		file = filepath.Clean(dir) + ".etcd-snapshot"
		drop = func() error { return os.Remove(file) }
	}
	for range i.origin.endpoints {
		conn, failed := dial(ctx)
		if failed == nil {
			s, failed = live.Fetch(ctx, sides.Side{Name: "the etcd", Conn: conn}, file)
			conn.Close()
		}
		if failed == nil || s != nil && errors.Is(failed, whole.ErrNotDurable) {
			if failed != nil && i.keep != "" { // else it need not outlast this
				fmt.Fprintln(c.ErrOrStderr(), "WARNING:", failed)
			}
			return s, drop, nil
		}
		err = errors.Join(err, failed)
	}
	return nil, nil, err
}

func newExport(n *connection) *cobra.Command {
	var from string
	var p places
	c := &cobra.Command{
		Use:   "export FILE [--from SNAPSHOT | --endpoints ENDPOINT]",
		Short: "Write what the fleet holds to a new file that etcdutl snapshot restore takes",
		Long: "Write what the fleet holds to a new file that etcdutl snapshot restore takes: of a snapshot that was\n" +
			"saved before, or of one that is taken of a node now and kept beside FILE meanwhile, in\n" +
			"FILE.NUMBER.work. All that can be read and watched, leases, users and roles are in it. It needs about\n" +
			"three times the room of the file. A node that says nothing for a minute is given up.\n" + placeHelp,
		Args: oneArgument("the file"),
		RunE: func(c *cobra.Command, arguments []string) error {
			f, err := n.exportTo(c.Context(), from, arguments[0], &p, c.ErrOrStderr())
			if err != nil {
				return without("nothing exported", err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "exported %s: %s\n", arguments[0], tellFound(f))
			return err
		},
	}
	n.addFlags(c)
	p.addFlags(c)
	c.Flags().StringVar(&from, "from", "", "file or object that mimir snapshot save wrote; none: of a node")
	return c
}

// without is the error of who makes a file: that there is none, unless it is only not known to be durable.
func without(none string, err error) error {
	if errors.Is(err, whole.ErrNotDurable) {
		return err
	}
	return fmt.Errorf("%s: %w", none, err)
}

func tellFound(f etcd.Found) string {
	compacted := ""
	if f.Compact > 0 { // else nothing ever was
		compacted = fmt.Sprintf(", compacted at %d", f.Compact)
	}
	return fmt.Sprintf("revision %d%s, %d changes, %d leases, %d users, %d roles", f.Revision, compacted,
		f.Changes, f.Leases, f.Users, f.Roles)
}

// exportTo exports of a file or an object to a file or an object.
func (n *connection) exportTo(
	ctx context.Context, from, to string, p *places, warn io.Writer,
) (f etcd.Found, err error) {
	whole := func(file string) (err error) {
		if from == "" {
			f, err = n.export(ctx, "", file, warn)
			return err
		}
		return p.fetch(ctx, from, func(saved string) (err error) {
			f, err = n.export(ctx, saved, file, warn)
			return err
		})
	}
	if store.IsPlace(to) {
		return f, p.put(ctx, to, whole)
	}
	return f, whole(to)
}

func (n *connection) export(
	ctx context.Context, from, to string, warn io.Writer,
) (f etcd.Found, err error) {
	if _, err := os.Lstat(to); err == nil {
		return f, fmt.Errorf("%s: %w", to, os.ErrExist)
	}
	work, err := os.MkdirTemp(filepath.Dir(to), filepath.Base(to)+".*.work")
	if err != nil {
		return f, err
	}
	defer func() {
		if left := os.RemoveAll(work); left != nil { // what was exported is none the less
			fmt.Fprintln(warn, "WARNING: remove what is left of the work:", left)
		}
	}()
	var s *backup.Snapshot
	if from == "" {
		s, _, err = n.save(ctx, filepath.Join(work, "snapshot"), &places{}, warn)
	} else {
		s, err = backup.OpenUntil(ctx, from)
	}
	if err != nil && !(s != nil && errors.Is(err, whole.ErrNotDurable)) { // it need not outlast this
		return f, err
	}
	err = s.Unpacked(ctx, filepath.Join(work, "kv"), func(content *kv.Store) error {
		f, err = etcd.Export(ctx, content, to)
		return err
	})
	return f, err
}
