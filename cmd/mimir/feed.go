package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/feed"
	"github.com/mimir-kv/mimir/server/plain"
)

// feeding is a fleet of which it is told what is changed.
type feeding struct {
	n                      *connection
	prefix, fromKey, toKey string
	token                  string
	feed.Options
}

func newFeed() *cobra.Command {
	f := &feeding{n: &connection{}}
	c := &cobra.Command{
		Use:   "feed [--prefix PREFIX] [--token TOKEN | --revision N] [--snapshot]",
		Short: "Follow what is changed, as lines of JSON for programs",
		Long: "Print what is changed in the fleet, or in keys with a prefix, until it is interrupted: a line of\n" +
			"JSON for each put and delete, in the order of the history. All changes of a revision stand together,\n" +
			"each with its number and how many there are (change, changes). Keys and values are text (key, value),\n" +
			"or Base64 where they are no UTF-8 (keyBase64, valueBase64). Lines of the type resolved say up to\n" +
			"where nothing is missing.\n\n" +
			"Keep the token of a line with what you made of all lines up to there, and go on with --token: nothing\n" +
			"is missing then, and what comes again has the same revision and key. A line that is cut off counts\n" +
			"for nothing. Name nodes of all regions as endpoints: so it goes on over a switchover and a failover.\n\n" +
			"Where a failover has cut off what was printed, a line of the type void says which revisions (those\n" +
			"between after and revision), and it ends with status 5; the token of that line goes on behind it.\n" +
			"With status 6 it ends where what comes next is compacted, or the fleet has another history than was\n" +
			"printed, as it has when it was restored under its name. --snapshot begins with all keys, between lines\n" +
			"of the types copy and copied; with --token or --revision it does so only in place of ending.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.choose(c); err != nil {
				return err
			}
			return f.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f.n.addFlags(c)
	flags := c.Flags()
	flags.MarkHidden("output")
	flags.StringVar(&f.prefix, "prefix", "", "follow the keys that begin with this; default: all")
	flags.StringVar(&f.fromKey, "from-key", "", "follow the keys from this one on")
	flags.StringVar(&f.toKey, "to-key", "", "follow the keys before this one")
	flags.StringVar(&f.token, "token", "", "go on behind the line that had this token")
	flags.Int64Var(&f.From, "revision", 0, "begin with this revision; default: with what is written next")
	flags.BoolVar(&f.Copy, "snapshot", false, "begin with all keys")
	flags.BoolVar(&f.Previous, "previous", false, "say of each change what there was before")
	flags.DurationVar(&f.Heartbeat, "heartbeat", feed.DefaultHeartbeat, "how often to say up to where all is printed")
	return c
}

// choose makes options of the flags.
func (f *feeding) choose(c *cobra.Command) error {
	named := c.Flags().Changed
	switch {
	case named("prefix") && (named("from-key") || named("to-key")):
		return fmt.Errorf("%w: either --prefix, or --from-key and --to-key", errUsage)
	case named("to-key") && f.toKey <= f.fromKey:
		return fmt.Errorf("%w: --to-key %q is not behind --from-key %q", errUsage, f.toKey, f.fromKey)
	case named("token") && named("revision"):
		return fmt.Errorf("%w: either --token or --revision", errUsage)
	case named("token") && f.token == "":
		return fmt.Errorf("%w: --token is empty", errUsage)
	case named("revision") && f.From < 1:
		return fmt.Errorf("%w: --revision %d", errUsage, f.From)
	case f.Heartbeat < feed.LeastHeartbeat:
		return fmt.Errorf("%w: --heartbeat %v: at least %v", errUsage, f.Heartbeat, feed.LeastHeartbeat)
	}
	f.Key, f.End = feed.Prefix(f.prefix)
	if f.fromKey != "" {
		f.Key = []byte(f.fromKey)
	}
	if f.toKey != "" {
		f.End = []byte(f.toKey)
	}
	f.Token = feed.Token(f.token)
	return f.n.check()
}

func (f *feeding) run(ctx context.Context, out, errs io.Writer) error {
	dial, err := f.n.dialing(errs)
	if err != nil {
		return err
	}
	f.Dial = func(ctx context.Context) (grpc.ClientConnInterface, func(), error) {
		s, leave, err := sides.Connect(ctx, "the fleet", f.Key, dial, 1)
		return s.Conn, leave, err
	}
	f.Trouble = func(err error) { fmt.Fprintln(errs, "mimir:", plain.Text(err)) }
	var text []byte
	for it, err := range feed.Follow(ctx, f.Options) {
		if err != nil {
			return f.ended(ctx, err)
		}
		if text, err = feed.AppendLines(text[:0], it); err != nil {
			return err
		}
		if _, err := out.Write(text); err != nil { // a revision at once, so that it is seldom cut
			return fmt.Errorf("standard output: %w", err)
		}
		if cap(text) > mostKept {
			text = nil
		}
	}
	return nil
}

// mostKept is how much memory is kept for the next lines.
const mostKept = 1 << 20

func (f *feeding) ended(ctx context.Context, err error) error {
	var void *feed.VoidError
	var compacted *feed.CompactedError
	var forked *feed.ForkedError
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return nil
	case f.token != "" && (errors.Is(err, feed.ErrToken) || errors.Is(err, feed.ErrForeign)):
		return fmt.Errorf("%w: --token: %w", errUsage, err)
	case errors.As(err, &void), errors.As(err, &compacted), errors.As(err, &forked):
		return fmt.Errorf("%w: --snapshot", err)
	}
	return err
}
