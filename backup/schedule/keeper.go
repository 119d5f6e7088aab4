package schedule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication/clock"
)

const (
	// poll is how often a node looks whether it is the one that takes them.
	poll = time.Second
	// lookAgain is how often the place is read, if no backup is due before.
	lookAgain = time.Hour
	// lookTime bounds a look at the place, or a deletion.
	lookTime = 10 * time.Minute
)

// Config is what a Keeper needs. The functions are called by one goroutine, but for Where.
type Config struct {
	Plan
	Store               store.Store
	Fleet, Region, Node string
	// Mine reports whether this node is the one that takes them now.
	Mine func() bool
	// Here tells where in the history this region is now, and how much of it others have; nil, or the zero Place: it
	// is not known.
	Here func() Place
	// Content returns what a backup is to hold, with where it is in its note, and these returns. It is closed in any
	// case.
	Content func(ctx context.Context, returns []Return) (io.ReadCloser, error)
	// Differs reports whether a node of this region was found to hold something else than it; nil: none was.
	Differs func(node string) bool
	// Where reads from the beginning of a backup where it is, of several at a time. Nil: ReadPlace.
	Where func(io.Reader) (*Place, error)
	// Check reads all of a backup of so many bytes as it lies in the place, and says what is wrong with it: an error
	// that is [backup.ErrBroken], or one of the reader.
	Check func(r io.Reader, bytes int64) error
	// Kept is told which are left, after some went that the plan keeps no more, until it returns no error. May be nil.
	Kept   func(ctx context.Context, kept []Backup) error
	Clock  clock.Clock
	Logger *slog.Logger
	// Former is the keeper that this one comes after on the same node, nil if it is the first there. It is ended before
	// this one runs, and may hang in its place. What it counted is counted on, and what it told of a place, and did not
	// come to do there, holds for the same place still.
	Former *Keeper
}

// Keeper keeps to the plan on one node.
type Keeper struct {
	Config
	failures int       // in a row
	again    time.Time // when it is tried again
	totals   *totals

	mu     sync.Mutex // guards what follows
	former *Keeper    // until this one runs
	memory
}

// memory is what a keeper knows of its place, and what it is to do there. It is written with the keeper's mu held.
type memory struct {
	mine   bool
	letGo  bool     // a backup was saved, and what the plan keeps no more is still there
	gone   bool     // some went, and Kept was not told
	taken  []Backup // as they were at the last look; the oldest first
	report Report   // without totals
	read
	places  Places   // of those in taken, as far as they could be looked at
	returns []Return // that the next one is to have
}

// New returns a keeper, which does nothing before Run.
func New(c Config) *Keeper {
	k := &Keeper{Config: c, totals: &totals{}, former: c.Former}
	k.Config.Former = nil
	if c.Where == nil {
		k.Where = ReadPlace
	}
	k.report = Report{To: c.Store.String(), Region: c.Region}
	if c.Former != nil {
		k.totals = c.Former.totals
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.adopt()
	return k
}

// adopt takes over what the keeper before knows, if it has the same place. By other settings the next backup may be due
// at another time, and what failed may be well. The caller holds mu.
func (k *Keeper) adopt() {
	if k.former == nil {
		return
	}
	k.former.mu.Lock()
	k.former.adopt() // it may not have come to run
	m := k.former.memory
	m.taken, m.places = slices.Clone(m.taken), maps.Clone(m.places)
	m.whole, m.broken, m.tried = maps.Clone(m.whole), maps.Clone(m.broken), maps.Clone(m.tried)
	m.doubted = maps.Clone(m.doubted)
	k.former.mu.Unlock()
	if m.report.To != k.report.To || m.report.Region != k.report.Region {
		k.report.LastBytes, k.report.LastTook = m.report.LastBytes, m.report.LastTook
		return
	}
	k.memory = m
	k.report.Due, k.report.Since = time.Time{}, time.Time{}
	if k.report.Failure != "" {
		k.report.Again = k.Clock.Now()
	}
}

// begin takes over from the keeper before, which is over or hangs.
func (k *Keeper) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.adopt()
	k.former = nil
}

// Place returns where the backups go.
func (k *Keeper) Place() string { return k.Store.String() }

// Run keeps to the plan until ctx ends. It returns then, but for as long as the place hangs.
func (k *Keeper) Run(ctx context.Context) {
	k.begin()
	timer := k.Clock.NewTimer(poll)
	defer timer.Stop()
	for {
		timer.Reset(k.step(ctx))
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
	}
}

// step does what is to be done now, and returns how long there is nothing to do.
func (k *Keeper) step(ctx context.Context) time.Duration {
	mine := k.Mine()
	if mine != k.mine {
		k.failures, k.again = 0, time.Time{}
		k.forget(mine)
	}
	if !mine {
		return poll
	}
	now := k.Clock.Now()
	if now.Before(k.again) {
		return poll
	}
	due, err := k.due(ctx, now)
	if err == nil && !now.Before(due) {
		err = k.take(ctx, now)
	}
	if err == nil && k.letGo {
		err = k.prune(ctx)
	}
	switch {
	case err == nil:
		k.well()
	case ctx.Err() == nil:
		k.failed(err)
	}
	return poll
}

// forget is what a node does that takes them no more, or takes them from now on: what it knew is of another time.
func (k *Keeper) forget(mine bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mine, k.letGo, k.taken = mine, false, nil
	k.report = Report{To: k.report.To, Region: k.report.Region, Mine: mine}
}

// due returns when the next backup is due. Whether one is due the place says, which another node may have put one into.
func (k *Keeper) due(ctx context.Context, now time.Time) (time.Time, error) {
	k.mu.Lock()
	looked, due := k.report.Looked, k.report.Due
	k.mu.Unlock()
	if !looked.IsZero() && now.Before(due) && now.Sub(looked) < lookAgain && !now.Before(looked) {
		return due, nil
	}
	return k.look(ctx)
}

func (k *Keeper) look(ctx context.Context) (due time.Time, err error) {
	bounded, cancel := context.WithTimeout(ctx, lookTime)
	taken, err := Taken(bounded, k.Store, k.Fleet)
	cancel()
	if err == nil {
		k.doubt(taken)
		err = k.locate(ctx, taken)
	}
	if err != nil {
		return due, err
	}
	ranked, returns := Stand(k.Region, k.here(), placed(taken, k.places), k.Clock.Now())
	counts, err := k.counting(ctx, backups(only(ranked, Own, Alone, Unplaced)))
	if err != nil {
		return due, err
	}
	now := k.Clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	first := k.report.Looked.IsZero()
	k.taken, k.returns = taken, returns
	gone := func(name string, _ bool) bool {
		return !slices.ContainsFunc(taken, func(b Backup) bool { return b.Name == name })
	}
	maps.DeleteFunc(k.whole, gone)
	maps.DeleteFunc(k.doubted, gone)
	k.report.see(counts, now, k.Due(counts, now))
	k.report.Others, k.report.OtherHistory = len(only(ranked, Elsewhere)), len(only(ranked, Foreign))
	k.report.Astray, k.report.Doubted = len(only(ranked, Astray)), len(k.doubted)
	if first {
		k.Logger.Info("this node takes the backups", "to", k.report.To, "there", k.report.Count, "due",
			k.report.Due.UTC().Format(time.RFC3339))
	}
	return k.report.Due, nil
}

// locate looks where those are of which that is not known. What cannot be read, or not in time, stays unknown until the
// next look: it lets nothing go, nor goes. The newest, which are looked at first, tell by their notes what the next one
// is to say.
func (k *Keeper) locate(ctx context.Context, taken []Backup) error {
	places := Places{}
	maps.Copy(places, k.places)
	own := slices.DeleteFunc(k.unbroken(taken), func(b Backup) bool { return b.Region != k.Region })
	err := places.Locate(ctx, k.Store, own, k.Where)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		k.Logger.Warn("where in the history backups are is not known of all: those stay, and push out none", "err", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places = places
	return nil
}

// placed returns backups with where they are, as far as that is known.
func placed(all []Backup, places Places) []Backup {
	all = slices.Clone(all)
	for i := range all {
		all[i].Place = places[all[i].Name]
	}
	return all
}

func backups(ranked []Ranked) (all []Backup) {
	for _, r := range ranked {
		all = append(all, r.Backup)
	}
	return all
}

// rank tells what those are that there are, and of which it can be told, to the region as it is now.
func (k *Keeper) rank() []Ranked {
	ranked, _ := Stand(k.Region, k.here(), placed(k.unbroken(k.taken), k.places), k.Clock.Now())
	return slices.DeleteFunc(ranked, func(r Ranked) bool {
		_, known := k.places[r.Name]
		return !known
	})
}

func (k *Keeper) here() Place {
	if k.Here == nil {
		return Place{}
	}
	return k.Here()
}

// take takes a backup.
func (k *Keeper) take(ctx context.Context, now time.Time) error {
	k.begun(now)
	name := Name(k.Fleet, k.Region, k.Node, k.here().History, now)
	bytes, err := k.save(ctx, name, now)
	if err != nil {
		return err
	}
	k.done(name, bytes, k.Clock.Now().Sub(now))
	return nil
}

// prune deletes what the plan keeps no more, of what this node has read, by the number of what it has. It may have to
// be called again before anything goes: letGo says so. Where nothing was to be deleted, Kept is not told: a place that
// is empty yet, or another one than before, does not say what nobody needs any more.
func (k *Keeper) prune(ctx context.Context) error {
	if _, err := k.look(ctx); err != nil {
		return fmt.Errorf("a backup was saved, but the place cannot be read: %w", err)
	}
	ranked := k.rank()
	if all, _, _ := k.Excess(ranked, k.Clock.Now()); len(all) > 0 {
		if read, err := k.prove(ctx, ranked); read || err != nil {
			return err
		}
	}
	excess, held, spared := k.Excess(k.proven(ranked), k.Clock.Now())
	k.holds(held)
	k.spares(spared, ranked)
	for len(excess) > 0 {
		if err := ctx.Err(); err != nil {
			return err // another plan may hold by now
		}
		b := excess[0]
		bounded, cancel := context.WithTimeout(ctx, lookTime)
		err := k.Store.Delete(bounded, b.Name)
		cancel()
		if err != nil {
			return fmt.Errorf("a backup was saved, but one that is kept no more cannot be deleted: %w", err)
		}
		k.Logger.Info("backup deleted, which is kept no more", "name", b.Name)
		k.deleted(b.Name)
		// The history may be known to be another one by now.
		excess, _, _ = k.Excess(k.proven(k.rank()), k.Clock.Now())
	}
	if k.Kept != nil && k.gone {
		if err := k.Kept(ctx, slices.Clone(k.taken)); err != nil {
			return fmt.Errorf("a backup was saved, but what none needs of the archived log stays: %w", err)
		}
	}
	k.pruned()
	return nil
}

// save puts a backup into the place, and reads it back. One that is not what it should be goes; one that cannot be read
// stays, and counts once it was.
func (k *Keeper) save(ctx context.Context, name string, now time.Time) (int64, error) {
	content, err := k.Content(ctx, k.returns)
	if err != nil {
		return 0, err
	}
	err = k.Store.Put(ctx, name, content)
	if err := errors.Join(err, content.Close()); err != nil {
		return 0, err
	}
	bytes, err := k.readBack(ctx, name)
	switch {
	case err == nil:
	case !isBroken(err):
		k.unread(name, now)
		err = fmt.Errorf("a backup was saved, and does not count until it is read back, which failed: %w", err)
	default:
		k.breaks(name)
		err = fmt.Errorf("a backup was not whole a moment after it was saved: %w", err)
		if ctx.Err() == nil {
			err = errors.Join(err, k.Store.Delete(ctx, name))
		}
	}
	return bytes, err
}
