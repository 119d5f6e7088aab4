package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/replication"
)

// logFlags say up to where an archived log is applied to a snapshot.
type logFlags struct {
	place              string
	revision, position uint64
	time               string
	epoch              uint64
}

func (l *logFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&l.place, "archive", "", "place of the archived log that brings the snapshot forward, as archive.to")
	f.Uint64Var(&l.revision, "to-revision", 0, "with --archive: the last revision to have")
	f.Uint64Var(&l.position, "to-position", 0, "likewise, the last position, as mimir archive status shows it")
	f.StringVar(&l.time, "to-time", "", "likewise, what was archived up to then, by the clocks of the nodes that "+
		"archived: 2006-01-02T15:04:05Z, or 15:04:05 of today here")
	f.Uint64Var(&l.epoch, "branch", 0, "likewise, the branch to follow, by its epoch; default: the one in force")
}

// target returns what the flags name. It is one point for all nodes that are restored: the end of an archive that grows
// is none.
func (l *logFlags) target(c *cobra.Command) (t archive.Target, err error) {
	f := c.Flags()
	given := 0
	for _, name := range []string{"to-revision", "to-position", "to-time"} {
		if f.Changed(name) {
			given++
		}
	}
	switch {
	case l.place == "" && (given > 0 || f.Changed("branch")):
		return t, fmt.Errorf("%w: --to-revision, --to-position, --to-time and --branch go with --archive", errUsage)
	case l.place != "" && given != 1:
		return t, fmt.Errorf("%w: --archive wants one of --to-revision, --to-position and --to-time; the end of what "+
			"is archived is the position that mimir archive status shows", errUsage)
	case f.Changed("to-time"):
		t.Time, err = readTime("to-time", l.time, time.Now())
		return t, err
	case l.place != "" && l.revision == 0 && l.position == 0 || l.revision > 1<<63-1 ||
		l.position > 1<<63-1:
		return t, fmt.Errorf("%w: there is no such point", errUsage)
	}
	return archive.Target{Revision: int64(l.revision), Position: replication.Position(l.position)}, nil
}

// replay returns what the flags ask for of a fleet, nil if they ask for none.
func (l *logFlags) replay(
	ctx context.Context, p *places, fleet string, t archive.Target,
) (*archive.Replay, error) {
	if l.place == "" {
		return nil, nil
	}
	a, err := openArchive(ctx, p, l.place, fleet)
	if err != nil {
		return nil, err
	}
	return a.replay(l.epoch, t)
}

// tellReached tells up to where a log was applied, and what that leaves open.
func tellReached(w io.Writer, log *archive.Replay, at archive.Reached) {
	fmt.Fprintf(w, "the log was applied up to %v, along branch %d, which ends at position %d: revision %d, "+
		"position %d\n", log.Until, log.Branch.Epoch(), log.Branch.Last.Position, at.Revision, at.Cursor.Position)
	if log.Until.Time.IsZero() {
		return
	}
	fmt.Fprintf(w, "the last of it was archived at %s", at.Before.Time.Format(time.RFC3339Nano))
	if !at.After.Time.IsZero() {
		fmt.Fprintf(w, ", and what follows at %s: what was written between the two is missing, also if that was before",
			at.After.Time.Format(time.RFC3339Nano))
	}
	fmt.Fprintln(w)
}
