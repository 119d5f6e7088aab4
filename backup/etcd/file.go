package etcd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mimir-kv/mimir/backup/bolt"
)

// Snapshot is a file of etcd. It must stay as it is while it is used.
type Snapshot struct {
	Path   string
	Digest [sha256.Size]byte // of the database
	bytes  int64             // of it
}

// blockBytes is what databases are multiples of. One that came by the API has its SHA-256 behind it.
const blockBytes = 512

// Open reads all of a file that etcdctl has saved, and takes it if its SHA-256 is right. One without, which was copied
// from the data directory of a member that was stopped, is taken only if unsummed.
func Open(path string, unsummed bool) (*Snapshot, error) {
	info, err := os.Stat(path) // before: to open a pipe waits for who writes to it
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: it is no file", path, ErrBroken)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &Snapshot{Path: path, bytes: info.Size()}
	summed := s.bytes%blockBytes == sha256.Size
	switch {
	case summed:
		s.bytes -= sha256.Size
	case s.bytes%blockBytes != 0:
		return nil, fmt.Errorf("%s: %w: %d bytes are neither a database nor one with its SHA-256: it was cut", path,
			ErrBroken, s.bytes)
	case !unsummed:
		return nil, fmt.Errorf("%s: %w: it has no SHA-256 at its end: if it was copied from a data directory, of a "+
			"member that was stopped, say --skip-hash-check", path, ErrBroken)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(f, s.bytes)); err != nil {
		return nil, err
	}
	s.Digest = [sha256.Size]byte(sum.Sum(nil))
	var want [sha256.Size]byte
	if summed {
		if _, err := io.ReadFull(f, want[:]); err != nil {
			return nil, err
		}
		if want != s.Digest {
			return nil, fmt.Errorf("%s: %w: its SHA-256 is another than the one at its end: it was changed", path,
				ErrBroken)
		}
	}
	if _, err := bolt.Open(f, s.bytes); err != nil {
		begins := make([]byte, len(ownMagic))
		if n, _ := f.ReadAt(begins, 0); string(begins[:n]) == ownMagic {
			return nil, fmt.Errorf("%s: %w: it is one of mimir: mimir snapshot restore takes it", path, ErrBroken)
		}
		return nil, fmt.Errorf("%s: %w: %w", path, ErrBroken, err)
	}
	return s, nil
}

// ownMagic is what a snapshot of Mimir begins with.
const ownMagic = "MIMIRKV"

// read calls f with the database.
func (s *Snapshot) read(f func(*bolt.File) error) error {
	file, err := os.Open(s.Path)
	if err != nil {
		return err
	}
	db, err := bolt.Open(file, s.bytes)
	if err == nil {
		err = f(db)
	}
	if errors.Is(err, bolt.ErrBroken) {
		err = fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return errors.Join(err, file.Close())
}
