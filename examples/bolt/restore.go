package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/mimir-kv/mimir/replication"
)

// incoming is what the name of a file ends with while it comes in.
const incoming = ".incoming"

// Restore implements replication.Storage: the snapshot becomes a file of its own, complete and synced, before it takes the place of the
// old one. Whatever fails before that leaves the old one.
func (s *Store) Restore(r io.Reader, meta *replication.Metadata) error {
	temporary := s.path + incoming
	if err := receive(temporary, r, meta); err != nil {
		return errors.Join(fmt.Errorf("restore: %w", err), os.Remove(temporary))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.db.Close(); err != nil {
		return err
	}
	err := os.Rename(temporary, s.path)
	if err == nil {
		err = syncDir(filepath.Dir(s.path))
	}
	db, reopened := openFile(s.path)
	if reopened == nil {
		s.db = db
	}
	return errors.Join(err, reopened)
}

// receive makes a file at path of what r has, checks it, and puts meta in.
func receive(path string, r io.Reader, meta *replication.Metadata) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(complete(db, n, meta), db.Close())
}

func complete(db *bbolt.DB, received int64, meta *replication.Metadata) error {
	return db.Update(func(tx *bbolt.Tx) error {
		if tx.Size() != received {
			return fmt.Errorf("the snapshot has %d bytes, %d were received", tx.Size(), received)
		}
		for err := range tx.Check() {
			return err
		}
		if tx.Bucket(bucketMeta) == nil || tx.Bucket(bucketCounts) == nil {
			return errors.New("not a snapshot of this store")
		}
		if meta == nil {
			return nil
		}
		return save(tx, meta)
	})
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
