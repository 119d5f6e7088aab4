package kv

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

// failures hears what Pebble says of one database that cannot go on, and sees to it that this ends in one error: of
// Open while the database is being opened, of Options.OnFailure afterwards. It is safe for concurrent use.
type failures struct {
	logger    *slog.Logger
	tell      func(error) // may be nil
	scheduler *scheduler
	room      *room

	mu     sync.Mutex
	opened bool          // somebody has the database
	damage error         // that was found while it was opened, the first
	fatal  error         // after which Pebble must not go on, the first
	once   sync.Once     // of failed
	failed chan struct{} // closed when the opening may not come to its end because of one
	end    sync.Once     // of stuck
	stuck  chan struct{} // closed when Pebble holds locks that nobody gives back: it cannot be closed
}

func newFailures(o *Options, path string) *failures {
	return &failures{
		logger: o.Logger, tell: o.OnFailure, scheduler: newScheduler(), room: newRoom(o, path),
		failed: make(chan struct{}), stuck: make(chan struct{}),
	}
}

// openPebble opens the database at path. Whatever its files hold, it ends with a database or an error: ErrDamaged if
// they are not what was written. With readOnly it leaves them as they are. The room is to be stopped before the
// database is closed.
func openPebble(path string, o *Options, cache *pebble.Cache, readOnly bool) (*pebble.DB, *room, error) {
	a := newFailures(o, path)
	var db *pebble.DB
	var err error
	done := make(chan struct{})
	go func() { // of its own: Fatalf may end it
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: %s: Pebble cannot read it: %v", replication.ErrDamaged, path, r)
			}
		}()
		p := pebbleOptions(o, cache, a)
		if readOnly {
			p.ReadOnly, p.ErrorIfNotExists = true, true
		}
		db, err = pebble.Open(path, p)
	}()
	select {
	case <-done:
	case <-a.failed: // it may wait for what failed, for ever
	}
	if fatal := a.open(&err); fatal != nil {
		a.room.end()
		a.abandon(done, &db)
		return nil, nil, fatal
	}
	if err != nil {
		a.room.end()
		return nil, nil, a.explained(path, err)
	}
	a.room.opened()
	return db, a.room, nil
}

// open says that the opening is over, with err, unless it returns why Pebble must not go on: err is not known then.
// Either way nobody ever has the database where it failed, and what is found in it still is heard by nobody.
func (a *failures) open(err *error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opened = a.fatal == nil && *err == nil
	return a.fatal
}

// abandon closes what an opening made that is done, or is once it comes to its end. Of one that is done nothing is left
// afterwards, unless it cannot be closed.
func (a *failures) abandon(done <-chan struct{}, db **pebble.DB) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		select {
		case <-done:
		case <-a.stuck:
		}
		select {
		case <-a.stuck:
			return
		default:
		}
		if *db != nil {
			_ = (*db).Close()
		}
	}()
	select {
	case <-done:
		select {
		case <-closed:
		case <-a.stuck:
		}
	default:
	}
}

// explained wraps an error of an opening in ErrDamaged unless the system refused something, or a newer version wrote
// what is to be opened.
func (a *failures) explained(path string, err error) error {
	var system interface {
		error
		Timeout() bool // what errors of the system have
	}
	a.mu.Lock()
	damage := a.damage
	a.mu.Unlock()
	switch {
	case errors.Is(err, replication.ErrDamaged), lockHeld(err):
		return err
	case tooNew(err):
		return asNewer(err)
	case damage != nil:
		return damage
	case errors.As(err, &system) && !errors.Is(err, fs.ErrNotExist) && !pebble.IsCorruptionError(err):
		return err
	default:
		return fmt.Errorf("%w: %s: %w", replication.ErrDamaged, path, err)
	}
}

// asDamage wraps an error of a read in ErrDamaged if what was read is not what was written, and names the file.
func asDamage(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return fmt.Errorf("%w: %s: %w", replication.ErrDamaged, info.Path, info.Details)
	}
	if errors.Is(err, mvcc.ErrCorrupt) || errors.Is(err, auth.ErrCorrupt) || pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", replication.ErrDamaged, err)
	}
	return err
}

// tooNew reports whether a newer Pebble wrote a database: this one has no error for it.
func tooNew(err error) bool {
	return strings.Contains(err.Error(), "written in unknown format major version")
}

// asNewer wraps an error in ErrNewer if it says that.
func asNewer(err error) error {
	if tooNew(err) {
		return fmt.Errorf("%w: the files of the store: %w", replication.ErrNewer, err)
	}
	return err
}

// lockHeld reports whether a database is open in this process already: Pebble has no error for it.
func lockHeld(err error) bool { return err.Error() == "lock held by current process" }

// Infof implements pebble.Logger: it drops what Pebble merely tells.
func (a *failures) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (a *failures) Errorf(format string, args ...any) {
	a.logger.Error("pebble", "err", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. It does not return: Pebble relies on that. While the database is opened, the opening
// ends; later, whoever called it waits for the end of the process, which is near if somebody is told.
func (a *failures) Fatalf(format string, args ...any) {
	err := fmt.Errorf("kv: the store cannot go on: %w", quoting(fmt.Sprintf(format, args...), args))
	a.logger.Error("pebble cannot go on", "err", err)
	switch {
	case a.fails(err, true):
		runtime.Goexit()
	case a.tell == nil:
		panic(err)
	}
	a.room.fails(err)
	go a.tell(err)
	select {}
}

// outlives has Pebble believe that a note was written of which err says that it was not, once the database is closed,
// and reports whether it does: Pebble has no way back from that failure, and could not be closed any more. Until then
// the note waits. Whoever has the store is told, unless he closes it already.
func (a *failures) outlives(p purpose, err error) bool {
	return p == noting && err != nil && a.believed(fmt.Errorf("%s: %w", p, err))
}

// believed is outlives for whatever Pebble has no way back from. An opening goes on at once, to its end, which is an
// error.
func (a *failures) believed(err error) bool {
	r := a.room
	err = fmt.Errorf("kv: the store cannot go on: %w", err)
	if a.opening(err) {
		a.logger.Error("pebble cannot go on", "err", err)
		r.believes()
		return true
	}
	select {
	case <-r.closing:
	default:
		a.logger.Error("pebble cannot go on", "err", err)
		if a.tell == nil {
			return false
		}
		r.fails(err)
		go a.tell(err)
		<-r.closing
	}
	r.believes()
	return true
}

// opening has an opening that is under way, or that failed, end with err; false if there is none.
func (a *failures) opening(err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.opened && a.fatal == nil {
		a.fatal = err
	}
	return !a.opened
}

// fails is opening for what an opening may wait for in vain.
func (a *failures) fails(err error, stuck bool) bool {
	if !a.opening(err) {
		return false
	}
	if stuck {
		a.end.Do(func() { close(a.stuck) })
	}
	a.once.Do(func() { close(a.failed) })
	return true
}

// damaged is told of each block that is not what was written. Whoever reads it gets an error besides.
func (a *failures) damaged(info pebble.DataCorruptionInfo) {
	err := fmt.Errorf("%w: %s: %w", replication.ErrDamaged, info.Path, info.Details)
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.damage == nil
	if first {
		a.damage = err
		a.scheduler.end()
		a.logger.Error("a file of the store is damaged", "file", info.Path, "err", info.Details)
	}
	if first && a.tell != nil && a.opened {
		go a.tell(err)
	}
}

// background is told that a flush or a compaction failed. Those that found no room are tried again: see room.
func (a *failures) background(err error) {
	if errors.Is(err, pebble.ErrClosed) || durable.Full(err) {
		return
	}
	err = fmt.Errorf("kv: write in the background: %w", asDamage(err))
	if !a.fails(err, false) && a.tell != nil {
		go a.tell(err)
	}
}

// quoting is an error with this text that wraps what it quotes.
func quoting(text string, quoted []any) error {
	for _, q := range quoted {
		if err, ok := q.(error); ok {
			return &quote{text, err}
		}
	}
	return errors.New(text)
}

type quote struct {
	text  string
	cause error
}

func (q *quote) Error() string { return q.text }
func (q *quote) Unwrap() error { return q.cause }
