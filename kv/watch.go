package kv

import (
	"cmp"
	"context"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
)

// Watch starts a watcher, which must be closed. A start that cannot be served is reported by the first Next. Errors:
// command.ErrEmptyKey, ErrClosed.
func (s *Store) Watch(r watch.Request) (*watch.Watcher, error) { return s.watchers.Watch(r) }

// WaitRevision returns once the store has reached rev, or with the context's error, or with ErrClosed; with a
// *watch.CompactedError if this history will not come to rev.
func (s *Store) WaitRevision(ctx context.Context, rev int64) error {
	return s.watchers.WaitRevision(ctx, rev)
}

// ReadHistory implements watch.Disk.
func (c *current) ReadHistory(from, to int64, f func(h *mvcc.History, compact int64) error) error {
	g, err := c.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	h, err := mvcc.OpenHistory(g.db, from, to)
	if err != nil {
		return err
	}
	return cmp.Or(f(h, g.now.Load().Compact), h.Close())
}
