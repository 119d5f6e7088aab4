package server

import (
	"context"
	"errors"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// savedStates reads the whole states that a node saved beside tails, and sums that which it has.
type savedStates struct {
	*kv.Store
	fs     vfs.FS // of the data directory; nil for the machine's
	logger *slog.Logger
}

// Digest implements admin.States.
func (s savedStates) Digest(ctx context.Context, q mvcc.Asked, part func(mvcc.Part) (more bool)) error {
	return kv.Digest(ctx, s.Store, q, part)
}

// Parting implements admin.States.
func (s savedStates) Parting(today []replication.Reign, at int) kv.Parting {
	return kv.PartingAt(s.Store, today, at)
}

// Attached implements admin.States.
func (s savedStates) Attached(lease int64, visit func(key []byte) error) error {
	return kv.LeaseKeys{Store: s.Store}.Each(lease, visit)
}

// Open implements admin.States.
func (s savedStates) Open(dir string) (admin.State, error) {
	c, err := kv.OpenChanges(s.fs, dir, s.logger)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Same implements admin.States.
func (s savedStates) Same(ctx context.Context, dir string, rev int64) (same bool, err error) {
	c, err := kv.OpenChanges(s.fs, dir, s.logger)
	if err != nil {
		return false, err
	}
	saved, err := c.HashContent(ctx, rev)
	if err = errors.Join(err, c.Close()); err != nil {
		return false, err
	}
	today, _, _, err := s.HashContent(ctx, rev)
	return saved == today, err
}
