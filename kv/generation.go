package kv

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/keyset"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

// ErrClosed says that the store was closed.
var ErrClosed = errors.New("kv: closed")

// generation is one Pebble database: the whole content between two Installs. A reader holds it from acquire to
// release, and it is closed only after the last of them.
type generation struct {
	db   *pebble.DB
	path string
	room *room
	// now is what readers see. It is replaced after each batch.
	now    atomic.Pointer[moment]
	leases lease.Set // as loaded, until the store takes them
	heads  headCache
	keys   *keyset.Index // counts them; nil if none is wanted. Not on disk

	reclaimed reclaimed // Reclaim's
	counted   counted   // keepCounted's

	mu     sync.RWMutex // read-locked by readers
	closed bool
}

// moment is the store after a batch. It does not change.
type moment struct {
	*mvcc.State
	alarms mvcc.Alarms
	auth   *auth.State
	stay   stay
}

// openGeneration opens or creates the database at path and loads its state.
func openGeneration(o *Options, cache *pebble.Cache, path string) (*generation, error) {
	db, room, err := openPebble(path, o, cache, false)
	if err != nil {
		return nil, fmt.Errorf("kv: open %s: %w", path, err)
	}
	g := &generation{db: db, path: path, room: room}
	g.heads.maxKeys, g.heads.maxBytes = headCacheKeys, int(o.CacheBytes/headCacheShare)
	if err := g.load(o.CountBytes); err != nil {
		return nil, errors.Join(fmt.Errorf("kv: load %s: %w", path, asDamage(err)), g.close())
	}
	return g, nil
}

func (g *generation) load(countBytes int64) error {
	if err := checkSequence(g.db, g.path); err != nil {
		return err
	}
	st, err := mvcc.LoadState(g.db)
	if err != nil {
		return err
	}
	alarms, err := mvcc.LoadAlarms(g.db)
	if err != nil {
		return err
	}
	users, err := loadAuth(g)
	if err != nil {
		return err
	}
	meta, err := g.metadata()
	if err != nil {
		return err
	}
	g.now.Store(&moment{State: st, alarms: alarms, auth: users, stay: stayFrom(meta)})
	if countBytes > 0 { // nobody waits until they are counted: the history may be long
		g.keys = keyset.New(st.Revision, int(countBytes))
	}
	g.leases, err = lease.Load(g.db)
	return err
}

// metadata reads what the library saved with the last command; nil if there was none.
func (g *generation) metadata() (*replication.Metadata, error) {
	p, err := mvcc.LoadMetadata(g.db)
	if err != nil || p == nil {
		return nil, err
	}
	m := new(replication.Metadata)
	if err := m.UnmarshalBinary(p); err != nil {
		return nil, fmt.Errorf("%w: %w", mvcc.ErrCorrupt, err)
	}
	return m, nil
}

func (g *generation) release() { g.mu.RUnlock() }

// close waits for all readers and closes the database.
func (g *generation) close() error {
	g.room.stop() // whoever waits for room holds it
	g.mu.Lock()
	g.room.end()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	err := g.db.Close()
	if durable.Full(err) {
		return nil // all that Pebble writes at the end belongs to its log, which is off
	}
	return err
}

// current is the generation that counts.
type current struct{ atomic.Pointer[generation] }

// acquire returns the current generation, which stays open until it is released. A holder must not acquire again.
func (c *current) acquire() (*generation, error) {
	for {
		g := c.Load()
		g.mu.RLock()
		if !g.closed {
			return g, nil
		}
		g.mu.RUnlock()
		if c.Load() == g {
			return nil, ErrClosed
		}
	}
}

// do does something with the current generation: again if another one took its place meanwhile, since then what failed
// says nothing of what counts.
func (c *current) do(f func(g *generation) error) error {
	for {
		g, err := c.acquire()
		if err != nil {
			return err
		}
		err = f(g)
		g.release()
		if err == nil || c.Load() == g {
			return err
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

// checkMarked refuses to begin anew, or to go on with an empty database, where there was a store: a marker was deleted.
func checkMarked(fs vfs.FS, dir, marked string) error {
	if marked != "" {
		path := fs.PathJoin(dir, marked)
		desc, err := pebble.Peek(path, fs)
		switch {
		case errors.Is(err, iofs.ErrNotExist) || err == nil && !desc.Exists:
			return fmt.Errorf("%w: %s holds no database, and %s/marker.%s says that it does", replication.ErrDamaged,
				path, dir, markerName)
		case err != nil && !pebble.IsCorruptionError(err):
			return fmt.Errorf("look at %s: %w", path, asNewer(err))
		case err == nil:
			return checkManifest(fs, desc.ManifestFilename)
		}
		return nil // it is found when it is opened
	}
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, generationPrefix) {
			continue
		}
		files, err := fs.List(fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, ".sst") }) {
			return fmt.Errorf("%w: %s holds tables, but the file marker.%s.* beside it is gone",
				replication.ErrDamaged, fs.PathJoin(dir, name), markerName)
		}
	}
	return nil
}

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
