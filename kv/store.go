package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/watch"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

var (
	_ replication.Storage  = (*Store)(nil)
	_ replication.Brancher = (*Store)(nil)
)

// Store is the multi-version store. Reads, watches and lookups are safe for concurrent use with each other and with
// everything else; Apply, Begin, Install and Restore are called by one goroutine at a time, as replication.Storage
// says.
type Store struct {
	inspector
	options Options
	bounds  bounds
	cache   *pebble.Cache
	marker  *marker
	current current

	watchers *watch.Hub
	leases   *lease.Table

	temporaries atomic.Uint64  // directories named
	leftovers   *leftovers     // of them, and of former generations
	compactor   *chore         // removes old versions
	counter     *chore         // keeps the index of the keys
	retired     sync.WaitGroup // former generations being closed
	closed      sync.Once
	closeErr    error
}

// Open opens the store in o.Dir, or creates it. Whatever its files hold, it ends with a store or an error:
// replication.ErrDamaged, which names the file, if they are not what was written, and replication.ErrNewer if a newer
// version wrote them.
func Open(o Options) (*Store, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if err := durable.MakeDir(pebblefs.New(o.FS), o.Dir); err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	marker, name, err := locateMarker(o.FS, o.Dir)
	if err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	s := &Store{options: o, bounds: defaultBounds, marker: marker, cache: pebble.NewCache(o.CacheBytes)}
	g, err := s.openCurrent(name)
	if err != nil {
		s.cache.Unref()
		return nil, errors.Join(err, marker.Close())
	}
	s.current.Store(g)
	s.leftovers = newLeftovers(&o)
	s.inspector = inspector{options: o, fresh: s.temporary, drop: s.leftovers.drop}
	s.leases = lease.NewTable(g.leases)
	s.leases.Hold(g.now.Load().holds())
	s.watchers = watch.NewHub(&s.current, g.now.Load().State, watch.DefaultLimits)
	removal := &removal{}
	s.compactor = startChore(o.Clock, o.Logger, "old versions cannot be removed", func(context.Context) (bool, error) {
		return removal.step(&s.current)
	})
	s.counter = startChore(o.Clock, o.Logger, "keys cannot be counted", func(ctx context.Context) (bool, error) {
		return keepCounted(ctx, &s.current, o.Logger)
	})
	return s, nil
}

// openCurrent opens the generation that the marker names, or the first one of a new store.
func (s *Store) openCurrent(name string) (*generation, error) {
	fs, dir := s.options.FS, s.options.Dir
	if err := checkMarked(fs, dir, name); err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	// What the marker names may be there without being durable: its directory could not be synced when it was moved.
	if err := pebblefs.New(fs).SyncDir(dir); err != nil {
		return nil, fmt.Errorf("kv: sync %s before what it names no more is removed: %w", dir, err)
	}
	if err := removeLeftovers(fs, dir, name); err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	fresh := name == ""
	if fresh {
		name = generationName(s.marker.NextIter())
	}
	g, err := openGeneration(&s.options, s.cache, fs.PathJoin(dir, name))
	if err != nil || !fresh {
		return g, err
	}
	if err := s.marker.Move(name); err != nil {
		return nil, errors.Join(fmt.Errorf("kv: %w", err), g.close())
	}
	return g, nil
}

// Close ends all watchers, waits for reads under way, and closes the store. What was applied since the last Sync may
// be lost, as after a crash: the log replays it.
func (s *Store) Close() error {
	s.closed.Do(func() {
		s.compactor.stop()
		s.counter.stop()
		s.watchers.Close(ErrClosed)
		s.closeErr = errors.Join(s.current.Load().close(), s.marker.Close())
		s.retired.Wait()
		s.leftovers.stop()
		s.cache.Unref()
	})
	return s.closeErr
}

// Load returns the metadata that the store holds; nil if it is empty.
func (s *Store) Load() (*replication.Metadata, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	return g.metadata()
}

// Sync makes everything applied so far durable. If there is no room for that on the disk its error is
// [durable.Full], nothing is lost, and it may be called again. What else keeps the store from it is its error at once,
// and Options.OnFailure is told.
func (s *Store) Sync() error {
	if err := s.current.do((*generation).flush); err != nil {
		return fmt.Errorf("kv: sync: %w", asDamage(err))
	}
	return nil
}

func (s *Store) acquire() (*generation, error) { return s.current.acquire() }

func (s *Store) now() *moment { return s.current.Load().now.Load() }

// Revision returns the revision of the last change applied; 1 if there was none.
func (s *Store) Revision() int64 { return s.now().Revision }

// CompactRevision returns the lowest revision that can be read; -1 if the store was never compacted.
func (s *Store) CompactRevision() int64 { return s.now().Compact }
