package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/plain"
)

// closeBehind is how many commands a region may lack that follows.
const closeBehind = 1000

// unseenTimeout is for how long nothing may be seen of a region that is waited for: nobody tells of the fleet, who is
// asked does not have the region, or it does not answer. One that answers may take its time: there may be much to copy.
const unseenTimeout = 10 * time.Minute

// newRegionWatch returns what shows how far a region is of which, or to which, something was done.
func newRegionWatch(out io.Writer, done string) *regionWatch {
	return &regionWatch{out: out, terminal: isTerminal(out), done: done}
}

// await waits until a region has what it needs and follows closely, and shows how far it is meanwhile: on a terminal as
// one line that changes, elsewhere as a line when something is new, and now and then.
func (w *regionWatch) await(
	ctx context.Context, client *admin.Client, name string,
) (*replication.RegionStatus, error) {
	defer w.end()
	stage := "nobody was asked yet"
	for {
		f, err := client.Fleet(ctx)
		done, err := w.look(time.Now(), name, f, err)
		switch {
		case err != nil || done != nil:
			return done, err
		case ctx.Err() == nil:
			stage = w.stage
			w.show(time.Now(), stage)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("region %s %s; it is not known to follow yet (%s), and goes on by itself: "+
				"see mimir region list: %w", name, w.done, stage, context.Cause(ctx))
		case <-time.After(lookEvery):
		}
	}
}

// look takes a picture of the fleet, or why there is none. It returns the region once it follows, or is primary, and an
// error if it was there, or was ordered to be, and a newer roster does not have it, or if nothing was seen of it for
// long.
func (w *regionWatch) look(
	now time.Time, name string, f *replication.FleetStatus, err error,
) (*replication.RegionStatus, error) {
	w.bar = ""
	if err != nil {
		w.stage = "no node tells: " + plain.Text(err)
		return nil, w.unseen(now, name)
	}
	i := slices.IndexFunc(f.Regions, func(r replication.RegionStatus) bool { return r.Name == name })
	switch {
	case i >= 0 && (follows(&f.Regions[i]) || f.Regions[i].Role == replication.RolePrimary):
		return &f.Regions[i], nil
	case i >= 0:
		w.stage, w.roster = stageOf(&f.Regions[i]), f.Roster
		if b := f.Regions[i].Bootstrap; b != nil {
			w.bar = bar(&b.Transfer)
		}
	case w.gone(f.Roster):
		return nil, fmt.Errorf("region %s was one of the fleet, and is none any more by roster %d of epoch %d, which "+
			"%s wrote: it was removed, or a failover lost that it was added: see mimir region list", name,
			f.Roster.Number, f.Roster.Epoch, f.Roster.By)
	default:
		w.stage = fmt.Sprintf("%s, which was asked, does not have it yet", f.Asked)
	}
	if i >= 0 && f.Regions[i].Heard {
		w.since = time.Time{}
		return nil, nil
	}
	return nil, w.unseen(now, name)
}

// gone reports whether a roster without the region is newer than one that has it: the last in which it was seen, or
// that which its order wrote.
func (w *regionWatch) gone(r *replication.RosterMark) bool {
	switch {
	case r == nil:
		return false
	case w.roster != nil:
		return w.roster.Before(*r)
	default: // the order does not say who wrote it
		return w.number > 0 && (uint64(r.Epoch) > w.epoch || uint64(r.Epoch) == w.epoch && r.Number > w.number)
	}
}

// unseen returns an error once nothing was seen of the region for long.
func (w *regionWatch) unseen(now time.Time, name string) error {
	if w.since.IsZero() {
		w.since = now
	}
	if now.Sub(w.since) < unseenTimeout {
		return nil
	}
	return fmt.Errorf("region %s %s, and nothing was seen of it for %v: %s; it may be that a failover lost the order, "+
		"or that who was asked is behind: see mimir region list", name, w.done, unseenTimeout, w.stage)
}

// follows reports whether a region has the history, streams what comes, and has acknowledged it; a fleet may have
// nothing yet to be acknowledged.
func follows(r *replication.RegionStatus) bool {
	acknowledges := r.Position == 0 || r.Slot != nil && !r.Slot.Lost
	return r.Role == replication.RoleSecondary && r.Connected && r.Activity == "" && r.Bootstrap == nil &&
		r.Lag.Seconds >= 0 && r.Lag.Commands <= closeBehind && acknowledges
}

// stageOf says how far a region is that does not follow yet.
func stageOf(r *replication.RegionStatus) string {
	switch {
	case !r.Heard:
		return "does not answer: " + r.Problem
	case r.Bootstrap != nil:
		return bootstrapText(r.Bootstrap)
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
	done     string // what was done with the region
	bar      string // how far it is, "" if that is not known
	last     string
	said     time.Time
	stage    string                  // how far the region was when it was looked at last
	roster   *replication.RosterMark // in which it was then; nil: it was not seen yet
	// epoch and number are of the roster by which the region was added; number is zero if that is not known.
	epoch, number uint64
	since         time.Time // from when on nothing is seen of it; zero: it was, or nobody was asked yet
}

func (w *regionWatch) show(now time.Time, stage string) {
	switch {
	case w.terminal:
		again(w.out, w.bar+stage)
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
		again(w.out, "")
	}
}
