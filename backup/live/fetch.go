package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/etcd"
	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/backup/whole"
)

// Fetch saves a snapshot of the etcd to a new file, as etcdctl does: under another name first, durably, and under its
// own when it was found whole. What breaks off leaves nothing.
func Fetch(ctx context.Context, from sides.Side, path string) (s *etcd.Snapshot, err error) {
	f, err := whole.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Abandon()) }()
	if err = backup.Receive(ctx, from.Conn, f); err == nil {
		err = f.Finish()
	}
	if err == nil {
		s, err = etcd.OpenUntil(ctx, f.Name(), false)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", from.Name, err)
	}
	s.Path = path
	return s, f.Publish()
}
