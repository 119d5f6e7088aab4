package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/mimir-kv/mimir/replication"
)

// incoming is what the name of a file ends with while it comes in.
const incoming = ".incoming"

// Restore implements replication.Storage: the snapshot becomes a file of its own, complete and synced, before it takes
// the place of the old one. Whatever fails before that leaves the old one.
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

// receive makes a file at path of what r has, and puts meta in.
func receive(path string, r io.Reader, meta *replication.Metadata) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = copyChecked(f, r); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil || meta == nil {
		return err
	}
	db, err := openFile(path)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(func(tx *bbolt.Tx) error { return save(tx, meta) }), db.Close())
}

// copyChecked copies the file in a snapshot to w, and fails if it is not whole.
func copyChecked(w io.Writer, r io.Reader) error {
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return fmt.Errorf("length of the snapshot: %w", err)
	}
	sum := sha256.New()
	_, err := io.CopyN(io.MultiWriter(w, sum), r, int64(min(binary.BigEndian.Uint64(length[:]), math.MaxInt64)))
	if err != nil {
		return fmt.Errorf("file in the snapshot: %w", err)
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, want); err != nil {
		return fmt.Errorf("checksum of the snapshot: %w", err)
	}
	if got := sum.Sum(nil); !bytes.Equal(got, want) {
		return fmt.Errorf("the snapshot is damaged: SHA-256 %x, want %x", got, want)
	}
	return nil
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
