package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/mimir-kv/mimir/backup/bolt"
	"github.com/mimir-kv/mimir/backup/whole"
)

// Snapshot is a file of etcd. It must stay as it is while it is used.
type Snapshot struct {
	Path   string
	Digest [sha256.Size]byte // of the database
	bytes  int64             // of it
}

// blockBytes is what databases are multiples of. One that came by the API has its SHA-256 behind it.
const blockBytes = 512

// Open is OpenUntil without an end.
func Open(path string, unsummed bool) (*Snapshot, error) {
	return OpenUntil(context.Background(), path, unsummed)
}

// OpenUntil reads all of a file that etcdctl has saved, unless ctx ends, and takes it if its SHA-256 is right. One
// without, which was copied from the data directory of a member that was stopped, is taken only if unsummed. The error
// is ErrBroken, or says what kept the file from being read: [whole.ErrNoFile], one of the filesystem, or of ctx.
func OpenUntil(ctx context.Context, path string, unsummed bool) (*Snapshot, error) {
	f, err := whole.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &Snapshot{Path: path, bytes: f.Bytes}
	if err := s.check(f, unsummed); err != nil {
		return nil, fmt.Errorf("%s: %w", path, f.Told(broken(err)))
	}
	return s, nil
}

// check reads a file, and says what is wrong with it.
func (s *Snapshot) check(f *whole.Source, unsummed bool) error {
	summed := s.bytes%blockBytes == sha256.Size
	if summed {
		s.bytes -= sha256.Size
	}
	if _, err := bolt.Open(f, s.bytes); err != nil {
		begins := make([]byte, len(ownMagic))
		if n, _ := f.ReadAt(begins, 0); string(begins[:n]) == ownMagic {
			return fmt.Errorf("%w: it is one of mimir: mimir snapshot restore takes it", ErrBroken)
		}
		return err
	}
	switch {
	case summed:
	case s.bytes%blockBytes != 0:
		return fmt.Errorf("%w: %d bytes are neither a database nor one with its SHA-256: it was cut", ErrBroken,
			s.bytes)
	case !unsummed: // it has all its pages, so that it may be a copy
		return fmt.Errorf("%w: it has no SHA-256 at its end: if it was copied from a data directory, of a member that "+
			"was stopped, say --skip-hash-check; else it was cut: save it anew", ErrBroken)
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, s.bytes); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it became shorter while it was read", ErrBroken)
	} else if err != nil {
		return err
	}
	s.Digest = [sha256.Size]byte(sum.Sum(nil))
	var want [sha256.Size]byte
	if !summed {
		return nil
	}
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return err
	}
	if want != s.Digest {
		return fmt.Errorf("%w: its SHA-256 is another than the one at its end: it was changed", ErrBroken)
	}
	return nil
}

// ownMagic is what a snapshot of Mimir begins with.
const ownMagic = "MIMIRKV"

// read calls f with the database.
func (s *Snapshot) read(ctx context.Context, f func(*bolt.File) error) error {
	file, err := whole.Open(ctx, s.Path)
	if err != nil {
		return err
	}
	db, err := bolt.Open(file, s.bytes)
	if err == nil {
		err = f(db)
	}
	return errors.Join(file.Told(broken(err)), file.Close())
}

// broken says what an error that came of a database is.
func broken(err error) error {
	if errors.Is(err, bolt.ErrBroken) {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return err
}
