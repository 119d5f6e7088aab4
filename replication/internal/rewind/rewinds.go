package rewind

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/tail"
)

// marksName is the directory of the marks.
const marksName = "marks"

// lookEvery is how often it is looked whether a mark is due.
const lookEvery = 2 * time.Second

// Source is the state of which marks are made.
type Source interface {
	// Sync makes what is applied durable.
	Sync() (index uint64, err error)
	// Hold takes hold of the state as it is now, for a copy in the new directory dir.
	Hold(dir string) (*region.Held, error)
}

// Log is the region's log on this node.
type Log interface {
	tail.Log
	// LastIndex returns the index of the last entry.
	LastIndex() uint64
	// BytesFrom returns about how much the entries from index on take.
	BytesFrom(index uint64) int64
	// Pin keeps the entries from index on, as far as log is kept for others; Unpin ends that.
	Pin(name string, index uint64)
	Unpin(name string)
}

// Config is what Rewinds are made of. Every field is required but for Brancher, where no marks are wanted.
type Config struct {
	FS       durable.FS
	Dir      string // its own
	Brancher contract.Brancher
	Source   Source
	Applied  *region.Applied
	Log      Log
	// Least returns a position that every other region is known to have, zero if none is.
	Least func() contract.Position
	// Unfit reports whether the state here is known to be another than the region's, or is being replaced.
	Unfit      func() bool
	EveryBytes int64  // of log between two marks; zero: none are wanted
	SpareBytes uint64 // are free on the disk while there are marks
	Clock      clock.Clock
	Logger     *slog.Logger
}

// Rewinds are the marks of a node and the states to which it went back. It is safe for concurrent use.
type Rewinds struct {
	config    Config
	preparing chan struct{}             // has room for the one that makes a state
	waits     atomic.Pointer[time.Time] // since when Forget waits for him; nil: it does not
	remains   remains
	placing   sync.Mutex // is held while a mark gets its place; taken before mu

	mu     sync.Mutex              // once it has begun, no file is touched while this is held
	marks  []mark                  // by index
	states map[string]state        // by name; some are not there yet
	unread []uint64                // indexes of marks that could not be read yet
	told   string                  // what hinders, as it was logged last
	forgot int                     // how often what was here was forgotten; changes while placing is held, too
	giveUp context.CancelCauseFunc // has whoever makes a state give up; nil: nobody does
}

// New returns Rewinds that know of nothing before Begin.
func New(c Config) *Rewinds {
	r := &Rewinds{config: c, preparing: make(chan struct{}, 1), states: map[string]state{}}
	r.remains.config, r.remains.dirs = &r.config, map[string]error{}
	return r
}

// Begin finds what earlier processes left, and keeps the log that it needs. Where no marks are wanted it removes those
// that are there; a state that the log may still ask for stays. It is called once, when the state is loaded and before
// the first log is released.
func (r *Rewinds) Begin() error {
	_ = r.remains.remove(r.config.marksDir() + partSuffix)
	if !r.config.wanted() {
		// At once, so that none is taken for a whole one later; it is tried again if need be.
		_ = r.remains.remove(r.config.marksDir())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.config.wanted() {
		if err := r.findMarks(); err != nil {
			return err
		}
	}
	if err := r.findStates(); err != nil {
		return err
	}
	r.pin(0)
	return nil
}

// wanted reports whether marks are.
func (c *Config) wanted() bool { return c.EveryBytes > 0 }

// Run makes marks and removes what is of no use any more, until ctx ends.
func (r *Rewinds) Run(ctx context.Context) {
	ticker := r.config.Clock.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			r.look()
		}
	}
}

func (c *Config) marksDir() string  { return filepath.Join(c.Dir, marksName) }
func (c *Config) statesDir() string { return filepath.Join(c.Dir, "states") }
