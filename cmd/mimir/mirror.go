package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup/mirror"
	"github.com/mimir-kv/mimir/server/plain"
)

// mirroring is a fleet that is mirrored to an etcd.
type mirroring struct {
	n *connection
	o origin
	mirror.Options
}

func newMirror() *cobra.Command {
	m := &mirroring{n: &connection{}}
	c := &cobra.Command{
		Use:   "mirror --to URLS [--endpoints ENDPOINTS]",
		Short: "Have a plain etcd follow the fleet",
		Long: "Write to an etcd what is written to the fleet, or to keys with a prefix: what was changed together\n" +
			"is changed together, leases included, with revisions of the etcd's own. It goes on until it is\n" +
			"interrupted. How far it is stands in the etcd, under a key that begins with mimir.mirror/: however it\n" +
			"ended, run it again, anywhere, and it goes on there; of two the one that was started last does. Where\n" +
			"the fleet has compacted what comes next, or lost it in a failover, both are compared, and brought in\n" +
			"line. Until that is done, and at the beginning, the etcd has parts of both. Name nodes of all regions\n" +
			"as endpoints, so that it goes on when one is lost. Users and roles are not mirrored.\n\n" +
			"The user of the fleet has to be root, or one who may read the keys with --prefix and all that are\n" +
			"under leases. What others put among the mirrored keys of the etcd goes with the next comparison.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("to-prefix") {
				m.ToPrefix = m.Prefix
			}
			return m.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	m.n.addFlags(c)
	m.o.addFlagsOf(c, "to", "user of the etcd who may read and write keys with --to-prefix, and "+
		"with mimir.mirror/place/")
	m.o.needEndpointsOf(c)
	f := c.Flags()
	f.StringVar(&m.Prefix, "prefix", "", "mirror the keys that begin with this; default: all")
	f.StringVar(&m.ToPrefix, "to-prefix", "",
		"what takes the place of --prefix in the etcd, \"\" for nothing; default: --prefix")
	f.BoolVar(&m.Overwrite, "overwrite", false,
		"replace and delete what no mirror of this has put where it is mirrored to")
	f.IntVar(&m.MostOps, "max-txn-ops", mirror.DefaultMostOps, "how many operations the etcd takes in a transaction")
	return c
}

func (m *mirroring) run(ctx context.Context, out, errs io.Writer) (err error) {
	if err := m.n.check(); err != nil {
		return err
	}
	if m.MostOps < mirror.LeastOps {
		return fmt.Errorf("%w: --max-txn-ops %d: at least %d", errUsage, m.MostOps, mirror.LeastOps)
	}
	if m.From, err = m.n.dialing(errs); err != nil {
		return err
	}
	if m.To, err = m.o.dialing(errs); err != nil {
		return err
	}
	said := mirrorSaid{n: m.n, out: out}
	m.Report = said.report
	m.Trouble = func(err error) { fmt.Fprintln(errs, "mimir:", plain.Text(err)) }
	err = mirror.Run(ctx, m.Options)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return m.n.print(out, said.last, func(w io.Writer) {
			fmt.Fprintln(w, stoppedText(said.last.Revision))
		})
	}
	return err
}

// mirrorSaid tells how far it is: when it has come to the end or falls behind, and now and then.
type mirrorSaid struct {
	n    *connection
	out  io.Writer
	last mirror.Progress
	at   time.Time
}

func (s *mirrorSaid) report(p mirror.Progress) {
	before, now := s.last, time.Now()
	s.last = p
	if !s.at.IsZero() && p.Whole() == before.Whole() && (now.Sub(s.at) < quietFollow || p == before) {
		return
	}
	s.at = now
	_ = s.n.print(s.out, p, func(w io.Writer) { // who does not listen any more is not told
		switch {
		case p.Whole():
			fmt.Fprintf(w, "all of revision %d is there, %d changes by now, %d leases\n", p.Revision, p.Changed,
				p.Leases)
		case p.Comparing:
			fmt.Fprintf(w, "not all is there yet: compared %d keys, %d changes by now, the fleet is at revision %d\n",
				p.Compared, p.Changed, p.Fleet)
		default:
			fmt.Fprintf(w, "at revision %d of %d, %d changes by now, %d leases\n", p.Revision, p.Fleet, p.Changed,
				p.Leases)
		}
	})
}
