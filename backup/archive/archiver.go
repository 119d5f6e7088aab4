package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// History is what a node has applied, as *replication.History gives it out.
type History interface {
	Now() (timeline.Origin, error)
	Read(name string, at timeline.Origin) (*replication.HistoryReading, error)
	Hold(name string, p replication.Position)
	Release(name string)
}

// Config is what an Archiver needs. The functions may be called at any time.
type Config struct {
	Store   store.Store
	History History
	// Leads reports whether this node is the one that archives. It costs little.
	Leads func() bool
	// Place returns the revision of the store, and the position of the history that led there; zeros if there is none.
	Place func() (revision int64, at replication.Position, err error)

	Fleet, Region, Node string
	// Interval is for how long entries are gathered before a segment is closed. Required.
	Interval time.Duration
	Clock    clock.Clock
	Logger   *slog.Logger
	// Former is the archiver that this one comes after at the same node, nil if it is the first there. It is ended
	// before this one runs, and may hang in its place. What it counted is counted on, and what it told of a place is
	// true of the same place still.
	Former *Archiver
}

// Bounds of what an Archiver waits for.
const (
	lookInterval  = time.Second      // between two looks at what was applied, at most
	standInterval = 15 * time.Second // between two looks of a node that does not archive at how far another one came
	callTimeout   = 2 * time.Minute
	leastPause    = time.Second // before something that failed is tried again
	mostPause     = time.Minute
)

// Errors of an Archiver.
var (
	// ErrForeign says that a store has the archive of another fleet.
	ErrForeign = errors.New("the archive of another fleet")
	// errElsewhere says that this node is not the one that archives any more.
	errElsewhere = errors.New("another node archives")
)

// Archiver archives the history of one node's fleet while that node leads. It is made by New.
type Archiver struct {
	config Config
	number uint64 // of those of this node
	name   string // under which the log is read for this one
	hold   hold
	looks  time.Duration // between two looks at what was applied
	// placed says that the log is held from where the archive ends, and not all that there is of it.
	placed bool
	ledger
}

// New returns an archiver; nothing is done before Run.
func New(c Config) *Archiver {
	a := &Archiver{config: c, looks: min(lookInterval, c.Interval/4)}
	a.config.Former, a.former, a.totals = nil, c.Former, &totals{}
	if c.Former != nil {
		a.number, a.totals = c.Former.number+1, c.Former.totals
	}
	a.name = fmt.Sprintf("archive/%d", a.number)
	a.hold.history, a.hold.name = c.History, a.name
	a.mu.Lock()
	defer a.mu.Unlock()
	a.adopt()
	return a
}

// Place returns where it archives.
func (a *Archiver) Place() string { return a.config.Store.String() }

// Run archives until ctx ends. It returns then, but for as long as the place hangs. Before it is known how far the
// archive came, the log is kept from where it begins: what is let go while the place cannot be read would be a gap.
// What is kept stays so behind the end, until another archiver runs that comes after this one, or Release.
func (a *Archiver) Run(ctx context.Context) {
	a.hold.keep(0)
	a.begin()
	for pause := leastPause; ctx.Err() == nil; {
		if !a.config.Leads() {
			a.elsewhere()
			a.stand(ctx)
			pause = leastPause
			continue
		}
		done := a.archived()
		err := a.archive(ctx)
		if errors.Is(err, errElsewhere) || ctx.Err() != nil {
			continue
		}
		if a.archived() != done {
			pause = leastPause
		}
		a.failed(err)
		a.config.Logger.Warn("the log is not archived; it is tried again", "store", a.config.Store.String(), "pause",
			pause, "err", err)
		a.wait(ctx, pause)
		pause = min(2*pause, mostPause)
	}
}

// begin takes over from the archiver of before, which is over or hangs.
func (a *Archiver) begin() {
	a.mu.Lock()
	a.adopt()
	former := a.former
	a.former = nil
	a.mu.Unlock()
	if former != nil {
		former.Release()
	}
}

// Release lets go of the log that is kept for this archiver, and for those before it: none comes after it that would
// need it. It may be called beside Run, which keeps none from then on.
func (a *Archiver) Release() {
	a.mu.Lock()
	former := a.former
	a.former = nil
	a.mu.Unlock()
	if former != nil {
		former.Release()
	}
	a.hold.end()
}

// wait waits, and for the end.
func (a *Archiver) wait(ctx context.Context, d time.Duration) {
	timer := a.config.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}

// stand keeps the log that this node needs if it is to archive next, and looks about once in standInterval.
func (a *Archiver) stand(ctx context.Context) {
	c := &a.config
	if l, ok := head(ctx, c.Store); ok && a.leadsHere(ctx, l) {
		a.hold.keep(l.To.Position)
		a.placed = true
	} else if !a.placed {
		a.hold.keep(0) // again: the node may not have been ready for it
	}
	for range standInterval / lookInterval {
		if a.wait(ctx, lookInterval); ctx.Err() != nil || c.Leads() {
			return
		}
	}
}

// leadsHere reports whether a segment ends in the history here, or where that may come to, as reigns tell. After a
// forced failover two regions may archive to one place, and so may a node that formed its region anew by itself: how
// far another history came says nothing of what is archived of this one.
func (a *Archiver) leadsHere(ctx context.Context, l Link) bool {
	here, err := a.config.History.Now()
	if err != nil || !mayHold(here, l.To) {
		return false
	}
	h, err := peek(ctx, a.config.Store, l)
	if err != nil {
		return false
	}
	relation, _ := timeline.Compare(h.To.Reigns, here.Reigns, h.To.Cursor.Position, here.Cursor.Position)
	return relation != timeline.Forked
}

// archive goes on where the archive ends, until something goes wrong.
func (a *Archiver) archive(ctx context.Context) error {
	from := a.leads()
	if !a.placed {
		from = 0 // what is known of the place is of an archiver before
	}
	a.hold.keep(from) // until it is known how far the archive came
	r, g, err := a.resume(ctx)
	if err != nil {
		return err
	}
	a.hold.letGo()
	defer func() {
		a.hold.keep(g.segment.From.Position)
		a.placed = true
		r.Close()
	}()
	for {
		if err := a.look(ctx, r, g); err != nil {
			return err
		}
		if a.wait(ctx, a.looks); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// look takes what was applied since the last look, and keeps what is due.
func (a *Archiver) look(ctx context.Context, r *replication.HistoryReading, g *gather) error {
	revision, position, err := a.config.Place()
	if err != nil {
		return err
	}
	began := a.config.Clock.Now() // behind the place, so that nothing up to there came later
	g.mark(Mark{Time: began.UTC().Round(0), Position: position, Revision: revision})
	for {
		if !a.config.Leads() {
			return errElsewhere
		}
		payloads, at, end, err := r.Next()
		if err != nil {
			return err
		}
		if err := g.take(a.config.Clock.Now(), payloads, at); err != nil {
			return err
		}
		if g.full() || end && g.due(a.config.Clock.Now(), a.config.Interval) {
			if err := a.keep(ctx, g); err != nil {
				return err
			}
			r.Done(at)
		}
		if end {
			if g.empty() {
				a.seen(began)
			}
			return nil
		}
	}
}

// keep puts the segment that was gathered, and tries until that is done.
func (a *Archiver) keep(ctx context.Context, g *gather) error {
	s := g.close(a.config.Clock.Now().UTC().Round(0))
	text, l, err := Encode(s)
	if err != nil {
		return fmt.Errorf("segment from position %d to %d: %w", l.From.Position, l.To.Position, err)
	}
	for pause := leastPause; ; pause = min(2*pause, mostPause) {
		err := a.put(ctx, l.Name(), text)
		if err == nil || pause > leastPause && a.isThere(ctx, l) {
			break
		}
		a.failed(err)
		a.config.Logger.Warn("a segment of the log is not archived; it is tried again", "store",
			a.config.Store.String(), "segment", l.Name(), "pause", pause, "err", err)
		if a.wait(ctx, pause); ctx.Err() != nil {
			return ctx.Err()
		}
		if !a.config.Leads() {
			return errElsewhere
		}
	}
	a.kept(s, len(text))
	g.next()
	return a.putHead(ctx, l)
}

func (a *Archiver) put(ctx context.Context, name string, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return a.config.Store.Put(ctx, name, bytes.NewReader(text))
}

// settle makes durable a segment that was found in the place.
func (a *Archiver) settle(ctx context.Context, l Link) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := store.Settle(ctx, a.config.Store, l.Name()); err != nil {
		return fmt.Errorf("make %s durable: %w", l.Name(), err)
	}
	return nil
}

// isThere reports whether a segment that was put before is in the place, and makes it durable: whoever put it may have
// been told that it was not, and the place may refuse to replace it.
func (a *Archiver) isThere(ctx context.Context, l Link) bool {
	_, err := fetch(ctx, a.config.Store, l)
	return err == nil && a.settle(ctx, l) == nil
}

const (
	// headName is the object that names the segment which was archived last, or one of shortly before. It is a hint for
	// nodes that are to go on behind it: nothing rests on it.
	headName     = "log-head"
	maxNameBytes = 1 << 10
)

// putHead says how far the archive came. That it fails matters to nobody but nodes that keep more log than they need,
// or look through all that is archived.
func (a *Archiver) putHead(ctx context.Context, l Link) error {
	if now := a.config.Clock.Now(); now.Sub(a.headPut) >= standInterval || now.Before(a.headPut) {
		if err := a.put(ctx, headName, []byte(l.Name())); err == nil {
			a.headPut = now
		}
	}
	return ctx.Err()
}

// PlaceIn returns a Config.Place of a store.
func PlaceIn(s *kv.Store) func() (int64, replication.Position, error) {
	return func() (int64, replication.Position, error) {
		revision, m, err := kv.PlaceOf(s)
		if err != nil || m == nil {
			return 0, 0, err
		}
		return revision, m.Position, nil
	}
}
