package kv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Changes reads what changed in a checkpoint, which it leaves as it is. It is used by one goroutine and must be closed.
type Changes struct {
	db    *pebble.DB
	cache *pebble.Cache
	state *mvcc.State
}

// Every block is read once, and the tables one after the other.
const (
	changesCacheBytes = 8 << 20
	changesTables     = 32
)

// OpenChanges opens the checkpoint in dir, as Checkpoint made it.
func OpenChanges(fs vfs.FS, dir string, logger *slog.Logger) (*Changes, error) {
	o := Options{FS: fs, Dir: dir, Logger: logger, OpenTables: changesTables}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	c := &Changes{cache: pebble.NewCache(changesCacheBytes)}
	var err error
	if c.db, _, err = openPebble(dir, &o, c.cache, true); err != nil {
		c.cache.Unref()
		return nil, fmt.Errorf("kv: open checkpoint %s: %w", dir, err)
	}
	if c.state, err = mvcc.LoadState(c.db); err != nil {
		return nil, errors.Join(fmt.Errorf("kv: checkpoint %s: %w", dir, err), c.Close())
	}
	return c, nil
}

// Revision returns the revision of the last change.
func (c *Changes) Revision() int64 { return c.state.Revision }

// First returns the least revision of which all changes are there after revision after: what was compacted is missing.
func (c *Changes) First(after int64) int64 { return max(after+1, c.state.Compact, mvcc.FirstRevision) }

// Each calls visit with each change after a revision that is there, in order, and returns its error. Nothing of an
// event is used again.
func (c *Changes) Each(after int64, visit func(e *mvccpb.Event) error) (err error) {
	h, err := mvcc.OpenHistory(c.db, c.First(after), c.state.Revision)
	if err != nil {
		return fmt.Errorf("kv: read changes: %w", err)
	}
	defer func() { err = cmp.Or(err, h.Close()) }()
	for ok := h.First(); ok; ok = h.Next() {
		key, at, err := h.Change()
		if err != nil {
			return err
		}
		v, err := h.Version(key, at)
		if err != nil {
			return err
		}
		e := &mvccpb.Event{Kv: v.KeyValue(key)}
		if v.Kind == mvcc.KindDelete {
			e.Type = mvccpb.Event_DELETE
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return h.Err()
}

// HashContent is that of a Store with the same history: over what can be read at rev. Errors: command.ErrCompacted,
// command.ErrFutureRevision, the context's.
func (c *Changes) HashContent(ctx context.Context, rev int64) (hash uint32, err error) {
	if err := c.state.CheckRead(rev); err != nil {
		return 0, err
	}
	r, err := mvcc.NewReader(c.db)
	if err != nil {
		return 0, err
	}
	hash, err = r.HashContent(ctx, rev)
	return hash, cmp.Or(err, r.Close())
}

// Close lets go of the checkpoint.
func (c *Changes) Close() error {
	err := c.db.Close()
	c.cache.Unref()
	return err
}

// ForkBefore returns the revision at which a history parted that came to revision rev and is not this one's: what a
// reign left behind that began without it. 0 if that is not known here.
func (s *Store) ForkBefore(rev int64) int64 {
	g, err := s.acquire()
	if err != nil {
		return 0
	}
	defer g.release()
	return g.now.Load().Before(rev)
}
