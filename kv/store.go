package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

var (
	_ replication.Storage      = (*Store)(nil)
	_ replication.Checkpointer = (*Store)(nil)
)

// Options says where a Store is and what it may use.
type Options struct {
	// FS is the filesystem of Dir. Default: the machine's.
	FS vfs.FS
	// Dir is created if missing. It belongs to one open Store.
	Dir string
	// CacheBytes bounds the cache of blocks; it should hold the hot set. The values written or read last take up to half as much
	// beside it. Default 128 MiB.
	CacheBytes int64
	// MemTableBytes is how much is written before it is flushed. Default 64 MiB.
	MemTableBytes uint64
	// CountedKeys is up to how many keys the store keeps in memory (about 60 bytes and the key each) to tell how many an interval
	// has now, as every range with a limit does, without a walk over all of them. With more keys it walks, until it is opened anew
	// with fewer. Default 2,097,152; negative for none.
	CountedKeys int
	// Logger receives one event a line. Default: slog.Default().
	Logger *slog.Logger
	// OnFailure is told, on a goroutine of its own, that the disk took no more: a flush or a compaction failed. What is applied from
	// then on may never become durable, and Apply may wait for ever, so the owner should stop. It may be told again. May be nil.
	OnFailure func(error)
}

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return errors.New("kv: Options.Dir is empty")
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 128 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 64 << 20
	}
	if o.CountedKeys == 0 {
		o.CountedKeys = 2 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// Store is the multi-version store. Reads, watches and lookups are safe for concurrent use with each other and with
// everything else; Apply, Begin, Install and Restore are called by one goroutine at a time, as replication.Storage says.
type Store struct {
	options Options
	cache   *pebble.Cache
	marker  *atomicfs.Marker
	current atomic.Pointer[generation]

	// mu guards publication: what follows it changes together with generation.state, in one step for watchers.
	mu       sync.Mutex
	watchers watcherSet
	changed  chan struct{} // closed when the revision rises; nil while nobody waits
	leases   map[int64]int64
	observer leaseObserver
	temp     uint64

	compactor *compactor
	retired   sync.WaitGroup // former generations being closed
	closed    sync.Once
	closeErr  error
}

// Open opens the store in o.Dir, or creates it.
func Open(o Options) (*Store, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if err := durable.MakeDir(pebblefs.New(o.FS), o.Dir); err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	marker, name, err := atomicfs.LocateMarker(o.FS, o.Dir, markerName)
	if err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	s := &Store{options: o, marker: marker, cache: pebble.NewCache(o.CacheBytes)}
	g, err := s.openCurrent(name)
	if err != nil {
		s.cache.Unref()
		return nil, errors.Join(err, marker.Close())
	}
	s.current.Store(g)
	s.leases = g.leases
	s.watchers.init()
	s.compactor = startCompactor(s)
	return s, nil
}

// openCurrent opens the generation that the marker names, or the first one of a new store.
func (s *Store) openCurrent(name string) (*generation, error) {
	fs, dir := s.options.FS, s.options.Dir
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
		s.mu.Lock()
		s.watchers.endAll(ErrClosed)
		s.wakeWaiters()
		s.mu.Unlock()
		s.closeErr = errors.Join(s.current.Load().close(), s.marker.Close())
		s.retired.Wait()
		s.cache.Unref()
	})
	return s.closeErr
}

// Load returns the metadata that the store held when it was opened or last replaced by Install; nil if it was empty.
func (s *Store) Load() (*replication.Metadata, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	return g.metadata, nil
}

// Sync makes everything applied so far durable.
func (s *Store) Sync() error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	if err := g.db.Flush(); err != nil {
		return fmt.Errorf("kv: sync: %w", err)
	}
	return nil
}

func (s *Store) state() *state { return s.current.Load().state.Load() }

// Revision returns the revision of the last change applied; 1 if there was none.
func (s *Store) Revision() int64 { return s.state().revision }

// CompactRevision returns the lowest revision that can be read; -1 if the store was never compacted.
func (s *Store) CompactRevision() int64 { return s.state().compact }

// WaitRevision returns once the store has reached rev, or with the context's error, or with ErrClosed.
func (s *Store) WaitRevision(ctx context.Context, rev int64) error {
	for {
		s.mu.Lock()
		if s.state().revision >= rev {
			s.mu.Unlock()
			return nil
		}
		if s.watchers.ended != nil {
			s.mu.Unlock()
			return ErrClosed
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wakeWaiters wakes WaitRevision. s.mu is held.
func (s *Store) wakeWaiters() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
