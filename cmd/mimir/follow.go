package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup/live"
	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/server/plain"
)

// crossing is a fleet that is to take the place of a running etcd.
type crossing struct {
	n *connection
	o origin
}

func newImportFollow() *cobra.Command {
	x := &crossing{n: &connection{}}
	c := &cobra.Command{
		Use:   "follow --from URLS [--endpoints ENDPOINTS]",
		Short: "Have a fleet that was imported with --follow follow the running etcd",
		Long: "Apply to a fleet, which was made by mimir import --follow, what is written to the etcd: each\n" +
			"revision as one revision with the same number, and leases as the etcd keeps them. It goes on until it\n" +
			"is interrupted, or mimir import finish opens the fleet. It keeps nothing: however it ended, run it\n" +
			"again, anywhere, and it goes on where the fleet is. Meanwhile do not change users and roles of the\n" +
			"etcd, and have it compact no further than the fleet has come.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return x.follow(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	x.n.addFlags(c)
	x.o.needEndpoints(c)
	return c
}

func (x *crossing) follow(ctx context.Context, out, errs io.Writer) error {
	from, to, err := x.sides()
	if err != nil {
		return err
	}
	said := followSaid{x: x, out: out}
	err = live.Follow(ctx, live.Options{
		From: from, To: to, Report: said.report,
		Trouble: func(err error) { fmt.Fprintln(errs, "mimir: tried again:", plain.Text(err)) },
	})
	switch {
	case err == nil:
		return x.n.print(out, map[string]any{"opened": true}, func(w io.Writer) {
			fmt.Fprintln(w, "the fleet was opened: it follows no more")
		})
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		known := map[string]any{}
		if said.last.Revision > 0 {
			known["revision"] = said.last.Revision
		}
		return x.n.print(out, known, func(w io.Writer) { fmt.Fprintln(w, stoppedText(said.last.Revision)) })
	}
	return err
}

// stoppedText says where somebody was stopped; revision is 0 if he never found out.
func stoppedText(revision int64) string {
	if revision <= 0 {
		return "stopped before it knew at which revision it is; run it again to go on"
	}
	return fmt.Sprintf("stopped at revision %d; run it again to go on", revision)
}

// sides connects to both.
func (x *crossing) sides() (from, to sides.Dial, err error) {
	if err := x.n.check(); err != nil {
		return nil, nil, err
	}
	if from, err = x.o.dialing(os.Stderr); err != nil {
		return nil, nil, err
	}
	to, err = x.n.dialing(os.Stderr)
	return from, to, err
}

// both calls f with one connection to each side.
func (x *crossing) both(ctx context.Context, f func(etcd, fleet sides.Side) error) error {
	from, to, err := x.sides()
	if err != nil {
		return err
	}
	etcd, leave, err := sides.Connect(ctx, "the etcd", nil, from, len(x.o.endpoints))
	if err != nil {
		return err
	}
	defer leave()
	fleet, leave, err := sides.Connect(ctx, "the fleet", nil, to, len(x.n.endpoints))
	if err != nil {
		return err
	}
	defer leave()
	return f(etcd, fleet)
}

// followSaid tells how far it is: when it has come to the end or falls behind, and now and then.
type followSaid struct {
	x    *crossing
	out  io.Writer
	last live.Progress
	at   time.Time
}

// quietFollow is how long nothing is said if nothing but the revision changes.
const quietFollow = 10 * time.Second

func (s *followSaid) report(p live.Progress) {
	before, now := s.last, time.Now()
	s.last = p
	if caught := p.Revision >= p.Etcd; !s.at.IsZero() && caught == (before.Revision >= before.Etcd) &&
		(now.Sub(s.at) < quietFollow || p == before) {
		return
	}
	s.at = now
	_ = s.x.n.print(s.out, p, func(w io.Writer) { // who does not listen any more is not told
		if p.Revision >= p.Etcd {
			fmt.Fprintf(w, "all of revision %d is here, with %d leases\n", p.Revision, p.Leases)
			return
		}
		fmt.Fprintf(w, "at revision %d of %d, with %d leases\n", p.Revision, p.Etcd, p.Leases)
	})
}

func newImportVerify() *cobra.Command {
	x := &crossing{n: &connection{}}
	o, every := live.VerifyOptions{}, uint32(0)
	c := &cobra.Command{
		Use:   "verify --from URLS [--endpoints ENDPOINTS]",
		Short: "Compare a fleet with the running etcd that it follows",
		Long: "Compare all keys of both at a revision: values, versions, create and mod revisions and leases; with\n" +
			"--verified, all changes behind a revision at which they were equal, in their order. With --every their\n" +
			"whole history is compared too, as far as both have it, by a hash of each range of so many revisions;\n" +
			"where one is another, the first change that is. Then compare the leases that there are now, and the\n" +
			"revision of users and roles. The first difference is told. It holds no more than a few pages in\n" +
			"memory, and may run while the etcd is written.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return x.both(c.Context(), func(etcd, fleet sides.Side) error {
				p := startProgress(c.ErrOrStderr(), 0, "keys")
				o.Told, o.Every = func(r live.Compared) { p.found(r.Keys, r.Bytes) }, int64(every)
				r, err := live.Verify(c.Context(), etcd, fleet, o)
				if p.end(); err != nil {
					return err
				}
				return x.n.print(c.OutOrStdout(), r, func(w io.Writer) { tellVerified(w, r, o.Verified) })
			})
		},
	}
	x.n.addFlags(c)
	x.o.needEndpoints(c)
	c.Flags().Int64Var(&o.Revision, "revision", 0,
		"the revision at which they are compared; default: where the fleet is")
	c.Flags().Int64Var(&o.Verified, "verified", 0, "a revision at which they were found equal")
	c.Flags().Uint32Var(&every, "every", 0, "compare the history by ranges of so many revisions; 0: do not")
	return c
}

// tellVerified tells of the ranges first, if there are any.
func tellVerified(w io.Writer, r live.Compared, verified int64) {
	if r.Base != nil {
		if r.Base.Hash != "" {
			fmt.Fprintf(w, "at revision %d: %d keys of %d bytes, %s\n", r.Base.Revision, r.Base.Keys, r.Base.Bytes,
				r.Base.Hash)
		}
		for _, one := range r.Ranges {
			fmt.Fprintf(w, "revisions %d to %d: %d changes of %d bytes, %s\n", one.Behind+1, one.To, one.Changes,
				one.Bytes, one.Hash)
		}
		fmt.Fprintf(w, "at revision %d: %d keys of %d bytes, %s\n", r.Revision, r.Keys, r.Bytes, r.Hash)
		verified = 0
	}
	fmt.Fprintln(w, tellCompared(r, verified))
}

func tellCompared(r live.Compared, verified int64) string {
	what := "keys"
	if verified > 0 {
		what = fmt.Sprintf("changes behind revision %d", verified)
	}
	return fmt.Sprintf("equal at revision %d: %d %s of %d bytes, %d leases", r.Revision, r.Keys, what, r.Bytes,
		r.Leases)
}

func newImportFinish() *cobra.Command {
	x := &crossing{n: &connection{}}
	o := live.FinishOptions{}
	c := &cobra.Command{
		Use:   "finish --from URLS [--endpoints ENDPOINTS]",
		Short: "Open a fleet that follows an etcd to its clients",
		Long: "Wait until the fleet, to which mimir import follow brings all there is, has the revision and the\n" +
			"leases of the etcd; compare everything, or with --verified what was changed since a revision at which\n" +
			"both were equal; see that the etcd was not written meanwhile; and open the fleet to its clients. Stop\n" +
			"the writers of the etcd before. With --fence the etcd is made to refuse all writes first, by its alarm\n" +
			"CORRUPT, which stays if the fleet is opened, so that whoever was forgotten finds out, and is taken\n" +
			"back if not.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return x.both(c.Context(), func(etcd, fleet sides.Side) error {
				o.Told = func(step string) { fmt.Fprintln(c.ErrOrStderr(), step) }
				began := time.Now()
				r, err := live.Finish(c.Context(), etcd, fleet, o)
				if err != nil {
					return err
				}
				return x.n.print(c.OutOrStdout(), r, func(w io.Writer) {
					fmt.Fprintf(w, "%s; the fleet is open to clients, after %v\n", tellCompared(r, o.Verified),
						time.Since(began).Round(time.Millisecond))
				})
			})
		},
	}
	x.n.addFlags(c)
	x.o.needEndpoints(c)
	c.Flags().BoolVar(&o.Fence, "fence", false, "make the etcd refuse writes")
	c.Flags().Int64Var(&o.Verified, "verified", 0, "a revision at which both were found equal by mimir import verify")
	c.Flags().DurationVar(&o.Patience, "patience", live.DefaultPatience,
		"how long the fleet may take to have everything")
	return c
}
