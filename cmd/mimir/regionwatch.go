package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// closeBehind is how many commands a region may lack that follows.
const closeBehind = 1000

// awaitFollowing waits until a region has what it needs and follows closely, and shows how far it is meanwhile: on a
// terminal as one line that changes, elsewhere as a line when something is new, and now and then.
func awaitFollowing(
	ctx context.Context, out io.Writer, client *admin.Client, name string,
) (*replication.RegionStatus, error) {
	w := regionWatch{out: out, terminal: isTerminal(out)}
	defer w.end()
	for {
		f, err := client.Fleet(ctx)
		if err == nil {
			i := slices.IndexFunc(f.Regions, func(r replication.RegionStatus) bool { return r.Name == name })
			if i >= 0 && follows(&f.Regions[i]) {
				return &f.Regions[i], nil
			}
			if i >= 0 {
				w.show(time.Now(), stageOf(&f.Regions[i]))
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("region %s is one of the fleet; it is not known to follow yet, and goes on by "+
				"itself: see mimir region list: %w", name, context.Cause(ctx))
		case <-time.After(lookEvery):
		}
	}
}

// follows reports whether a region has the history, streams what comes, and has acknowledged it; a fleet may have
// nothing yet to be acknowledged.
func follows(r *replication.RegionStatus) bool {
	acknowledges := r.Position == 0 || r.Slot != nil && !r.Slot.Lost
	return r.Role == replication.RoleSecondary && r.Connected && r.Activity == "" && r.Lag.Seconds >= 0 &&
		r.Lag.Commands <= closeBehind && acknowledges
}

// stageOf says how far a region is that does not follow yet.
func stageOf(r *replication.RegionStatus) string {
	switch {
	case !r.Heard:
		return "does not answer: " + r.Problem
	case r.Activity != "":
		return r.Activity
	case r.Problem != "":
		return r.Problem
	case !r.Connected:
		return "is about to follow"
	default:
		return "follows, " + lagText(r) + " behind"
	}
}

// regionWatch tells how far a region is.
type regionWatch struct {
	out      io.Writer
	terminal bool
	last     string
	said     time.Time
}

func (w *regionWatch) show(now time.Time, stage string) {
	switch {
	case w.terminal:
		fmt.Fprintf(w.out, "\r\033[K%s", stage)
	case stage == w.last || now.Sub(w.said) < sayEvery:
		return
	default:
		fmt.Fprintln(w.out, stage)
		w.said = now
	}
	w.last = stage
}

func (w *regionWatch) end() {
	if w.terminal && w.last != "" {
		fmt.Fprint(w.out, "\r\033[K")
	}
}
