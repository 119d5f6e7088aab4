package kv

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// generation is one Pebble database: the whole content between two Installs. A reader holds it from acquire to release, and
// it is closed only after the last of them.
type generation struct {
	db   *pebble.DB
	path string
	// state is what readers see. It is replaced after each batch.
	state atomic.Pointer[state]
	// metadata of the last batch, as loaded.
	metadata *replication.Metadata
	leases   map[int64]int64
	heads    headCache

	mu     sync.RWMutex // read-locked by readers
	closed bool
}

func pebbleOptions(o *Options, cache *pebble.Cache) *pebble.Options {
	p := &pebble.Options{
		FS:                          o.FS,
		Comparer:                    comparer,
		Cache:                       cache,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                4096,
		Logger:                      pebbleLogger{o.Logger},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	if failed := o.OnFailure; failed != nil {
		p.EventListener = &pebble.EventListener{BackgroundError: func(err error) {
			if !errors.Is(err, pebble.ErrClosed) {
				go failed(fmt.Errorf("kv: write in the background: %w", err))
			}
		}}
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// openGeneration opens or creates the database at path and loads its state.
func openGeneration(o *Options, cache *pebble.Cache, path string) (*generation, error) {
	db, err := pebble.Open(path, pebbleOptions(o, cache))
	if err != nil {
		return nil, fmt.Errorf("kv: open %s: %w", path, err)
	}
	g := &generation{db: db, path: path, heads: headCache{maxKeys: headCacheKeys, maxBytes: int(o.CacheBytes / headCacheShare)}}
	if err := g.load(o.CountedKeys); err != nil {
		return nil, errors.Join(fmt.Errorf("kv: load %s: %w", path, err), db.Close())
	}
	return g, nil
}

func (g *generation) load(countedKeys int) error {
	st := newState()
	p, err := get(g.db, keyState)
	if err != nil {
		return err
	}
	if p != nil {
		if st, err = decodeState(p); err != nil {
			return err
		}
	}
	if st.keys, err = loadKeys(g.db, st.revision, countedKeys); err != nil {
		return err
	}
	g.state.Store(st)
	if p, err = get(g.db, keyMetadata); err != nil {
		return err
	}
	if p != nil {
		g.metadata = new(replication.Metadata)
		if err := g.metadata.UnmarshalBinary(p); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	g.leases, err = loadLeases(g.db)
	return err
}

// get returns a copy of the value of key, nil if there is none.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	p, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p = append([]byte{}, p...)
	return p, closer.Close()
}

func (g *generation) release() { g.mu.RUnlock() }

// close waits for all readers and closes the database.
func (g *generation) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return g.db.Close()
}

// acquire returns the current generation, which stays open until it is released. A holder must not acquire again.
func (s *Store) acquire() (*generation, error) {
	for {
		g := s.current.Load()
		g.mu.RLock()
		if !g.closed {
			return g, nil
		}
		g.mu.RUnlock()
		if s.current.Load() == g {
			return nil, ErrClosed
		}
	}
}

// Names inside Options.Dir. The marker names the generation that counts; everything else is left over from a crash.
const (
	markerName       = "current"
	generationPrefix = "gen-"
	temporaryPrefix  = "tmp-"
)

func generationName(n uint64) string { return fmt.Sprintf("%s%06d", generationPrefix, n) }

// removeLeftovers removes everything of ours but the generation that counts.
func removeLeftovers(fs vfs.FS, dir, keep string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		ours := strings.HasPrefix(name, generationPrefix) || strings.HasPrefix(name, temporaryPrefix)
		if ours && name != keep {
			if err := fs.RemoveAll(fs.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncTree makes everything under path durable, path itself included.
func syncTree(fs vfs.FS, path string) error {
	info, err := fs.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		names, err := fs.List(path)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := syncTree(fs, fs.PathJoin(path, name)); err != nil {
				return err
			}
		}
		return pebblefs.New(fs).SyncDir(path)
	}
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	return closeAfter(f, f.Sync())
}

// closeAfter closes c and returns the first of both errors.
func closeAfter(c io.Closer, err error) error {
	if closeErr := c.Close(); err == nil {
		err = closeErr
	}
	return err
}

// pebbleLogger passes on what Pebble complains about, and drops what it merely tells.
type pebbleLogger struct{ l *slog.Logger }

func (p pebbleLogger) Infof(string, ...any) {}

func (p pebbleLogger) Errorf(format string, args ...any) {
	p.l.Error("pebble", "error", fmt.Sprintf(format, args...))
}

func (p pebbleLogger) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	p.l.Error("pebble cannot go on", "error", message)
	panic("kv: pebble: " + message)
}
