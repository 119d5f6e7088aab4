package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/etcd"
	"github.com/mimir-kv/mimir/replication/durable"
)

// Fetch saves a snapshot of the etcd to a new file, as etcdctl does: under another name first, durably, and under its
// own when it was found whole. What breaks off leaves nothing.
func Fetch(ctx context.Context, from Side, path string) (s *etcd.Snapshot, err error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err = errors.Join(backup.Receive(ctx, from.Conn, f), f.Sync(), f.Close()); err == nil {
		s, err = etcd.Open(part, false)
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot of %s: %w", from.Name, err), os.Remove(part))
	}
	s.Path = path
	return s, durable.OS.SyncDir(filepath.Dir(path))
}
