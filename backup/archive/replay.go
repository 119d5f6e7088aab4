package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Errors of a Replay, beside ErrBroken and those of the store.
var (
	// ErrMissing says that an archive does not lead from a snapshot to where it was to lead.
	ErrMissing = errors.New("the archive does not lead there")
	// ErrLater says that a snapshot is of later than what was asked for.
	ErrLater = errors.New("the snapshot is of later")
)

// Target is up to where a history is replayed: one of its fields is set.
type Target struct {
	// Revision is reached by the command that makes it, and nothing behind that.
	Revision int64
	// Position is that of the last command.
	Position replication.Position
	// Cursor is a place, with the reigns that begin there.
	Cursor timeline.Cursor
	// Time is by the clock of the nodes that archived: nothing counts that was archived later. What was applied before,
	// and archived later, does not count either.
	Time time.Time
}

// last returns the position of the last command, zero if that is not known.
func (t Target) last() replication.Position { return max(t.Position, t.Cursor.Position) }

func (t Target) String() string {
	switch {
	case t.Revision > 0:
		return fmt.Sprintf("revision %d", t.Revision)
	case t.Position > 0:
		return fmt.Sprintf("position %d", t.Position)
	case t.Cursor != timeline.Cursor{}:
		return fmt.Sprintf("position %d of epoch %d", t.Cursor.Position, t.Cursor.Epoch)
	default:
		return t.Time.UTC().Format(time.RFC3339Nano)
	}
}

// Reached is where a replay ended.
type Reached struct {
	Cursor   timeline.Cursor
	Revision int64
	// Before is the last mark that counts by the target time, and After the first one that is later; zero if there is
	// none, or the target is no time. What was written between them may be on either side of that time.
	Before, After Mark
}

// Replay brings a store forward along a branch. It is used once.
type Replay struct {
	Store  store.Store
	Links  []Link
	Branch Branch
	// Others are branches of the same name. One of them takes the place of Branch if the snapshot is on it.
	Others []Branch
	Until  Target

	path          []Link
	before, after Mark  // the target time
	broken        error // what was passed by
}

// Run applies to s, which is in nobody's use, what follows the place of which its content is. What it returns without
// an error is at the target. What s holds after an error is of no use.
func (r *Replay) Run(ctx context.Context, s *kv.Store) (Reached, error) {
	a, err := newApplier(s, r.Until)
	if err == nil {
		err = r.choose(ctx, a)
	}
	if err == nil {
		err = cmp.Or(r.check(a), a.look())
	}
	if err == nil {
		err = r.plan(a.at)
	}
	for err == nil && !(a.on && a.done) && len(r.path) > 0 {
		err = r.segment(ctx, a)
	}
	if err == nil {
		err = a.flush()
	}
	if err == nil {
		err = r.short(ctx, a)
	}
	if err != nil {
		return Reached{}, fmt.Errorf("replay the log up to %v: %w", r.Until, cmp.Or(ctx.Err(), err))
	}
	return Reached{Cursor: a.at, Revision: s.Revision(), Before: r.before, After: r.after}, nil
}

// choose takes of several branches the one that leads on from where the store is.
func (r *Replay) choose(ctx context.Context, a *applier) error {
	if len(r.Others) == 0 {
		return nil
	}
	at := timeline.Origin{Cursor: a.at, Reigns: a.state.Reigns}
	for _, b := range append([]Branch{r.Branch}, r.Others...) {
		if is, _, err := b.leadsFrom(ctx, r.Store, r.Links, at); err != nil || is {
			if is {
				r.Branch = b
			}
			return err
		}
	}
	return nil
}

// check says what cannot be reached from where the store is.
func (r *Replay) check(a *applier) error {
	now := a.store.Revision()
	switch t := r.Until; {
	case t.Revision > 0 && now > t.Revision:
		return fmt.Errorf("%w: it has revision %d; take an earlier one", ErrLater, now)
	case t.last() > 0 && a.at.Position > t.last():
		return fmt.Errorf("%w: it is at position %d; take an earlier one", ErrLater, a.at.Position)
	case !t.Time.IsZero() && r.Branch.Last.Time.Before(t.Time):
		return fmt.Errorf("%w: what is known of the branch ends at %s, with position %d: say --to-position %d for that",
			ErrMissing, r.Branch.Last.Time.Format(time.RFC3339Nano), r.Branch.Last.Position, r.Branch.Last.Position)
	case t == Target{}:
		return errors.New("no target")
	}
	return nil
}

// plan finds the segments that lead on from a place.
func (r *Replay) plan(at timeline.Cursor) error {
	path, reaches, ok := Path(r.Links, r.Branch.Link.To, PlaceOf(at))
	if !ok {
		err := fmt.Errorf("%w: the snapshot is at position %d, and what leads to the end of the branch is there only "+
			"from position %d on: take a later snapshot", ErrMissing, at.Position, reaches.Position)
		return errors.Join(err, r.broken)
	}
	r.path = path
	return nil
}

// segment applies one more segment. One that is broken is passed by, if others hold the same.
func (r *Replay) segment(ctx context.Context, a *applier) error {
	l := r.path[0]
	s, err := fetch(ctx, r.Store, l)
	switch {
	case isBroken(err):
		r.broken = errors.Join(r.broken, err)
		r.Links = slices.DeleteFunc(slices.Clone(r.Links), func(o Link) bool { return o == l })
		return r.plan(a.at)
	case err != nil:
		return err
	}
	r.path = r.path[1:]
	if err := r.limit(ctx, s, a); err != nil {
		return err
	}
	if err := a.segment(ctx, s); err != nil {
		return fmt.Errorf("%s: %w", l.Name(), err)
	}
	return nil
}

// limit sets up to which position the history counts by the target time: that of the last mark before the first one
// that is later. So a clock that went back never takes in what another one called later.
func (r *Replay) limit(ctx context.Context, s *Segment, a *applier) error {
	if r.Until.Time.IsZero() || !r.after.Time.IsZero() {
		return nil
	}
	for _, m := range s.Marks {
		if !m.Time.After(r.Until.Time) {
			r.before = m
			continue
		}
		r.after = m
		if r.before.Time.IsZero() && s.From.Position == a.at.Position {
			if err := r.ended(ctx, PlaceOf(s.From)); err != nil {
				return err
			}
		}
		if r.before.Time.IsZero() || r.before.Position < a.at.Position {
			return errLater(m)
		}
		a.upTo(r.before.Position)
		a.full()
		return nil
	}
	return nil
}

// errLater says that a snapshot holds what a mark later than the target time is the first to tell of.
func errLater(m Mark) error {
	return fmt.Errorf("%w: of what it holds some was archived only at %s; take an earlier one", ErrLater,
		m.Time.Format(time.RFC3339Nano))
}

// ended sets the last mark that counts by the target time to one of a place at which segments end, if one of them has
// it: a snapshot of just there needs nothing of them, and yet they tell when it was archived.
func (r *Replay) ended(ctx context.Context, at Place) error {
	for _, l := range r.Links {
		if l.To != at {
			continue
		}
		s, err := fetch(ctx, r.Store, l)
		if isBroken(err) {
			r.broken = errors.Join(r.broken, err)
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range s.Marks {
			if m.Position == at.Position && !m.Time.After(r.Until.Time) && m.Time.After(r.before.Time) {
				r.before = m
			}
		}
	}
	return nil
}

// short says that the branch ended before the target, or before the snapshot.
func (r *Replay) short(ctx context.Context, a *applier) error {
	end := r.Branch.Origin.Cursor
	if a.on = a.on || a.at == end; !a.on {
		if PlaceOf(a.at).compare(r.Branch.Link.To) > 0 {
			return fmt.Errorf("%w: the snapshot is at position %d, and the branch ends at %d", ErrMissing,
				a.at.Position, end.Position)
		}
		return a.astray()
	}
	switch t := r.Until.Time; {
	case a.done:
		return nil
	case !t.IsZero() && a.at == end && r.Branch.Last.Time.After(t):
		r.after = r.Branch.Last
		if err := r.ended(ctx, PlaceOf(end)); err != nil || !r.before.Time.IsZero() {
			return err
		}
		return errLater(r.after)
	case !t.IsZero() && a.at == end:
		return nil
	}
	err := fmt.Errorf("%w: the branch ends with revision %d at position %d", ErrMissing, a.store.Revision(),
		a.at.Position)
	return errors.Join(err, r.broken)
}
