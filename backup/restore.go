package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/whole"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
)

// ErrFollows says that what is to be restored was to have nothing but what an etcd has.
var ErrFollows = errors.New("the fleet followed an etcd when this was taken")

// Restoring is a snapshot on its way into a new fleet.
type Restoring struct {
	Context  context.Context
	Snapshot *Snapshot
	Log      *archive.Replay // what is applied to the content; nil: nothing
	Move     kv.Move         // of the revision
	// Open lets a content be restored that follows an etcd: it takes everybody's writes afterwards. Else it is
	// refused, ErrFollows.
	Open bool
	// Found is what the content is, and Reached where Log ended, once Put has returned without error.
	Found   kv.Summary
	Reached archive.Reached
}

// Put implements server.Content.
func (r *Restoring) Put(o kv.Options, describe func(replication.Seed) (*replication.Metadata, error)) error {
	s, err := kv.Open(o)
	if err != nil {
		return err
	}
	err = r.put(s, describe)
	if err := errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("restore %s: %w", r.Snapshot.Path, err)
	}
	return nil
}

func (r *Restoring) put(s *kv.Store, describe func(replication.Seed) (*replication.Metadata, error)) error {
	err := r.Snapshot.unpack(r.Context, s)
	if err != nil {
		return err
	}
	if r.Log != nil {
		if r.Reached, err = r.Log.Run(r.Context, s); err != nil {
			return err
		}
	}
	if r.Found, err = kv.Summarize(r.Context, s); err != nil {
		return broken(err)
	}
	if r.Found.Follows && !r.Open {
		return ErrFollows
	}
	seed, err := replication.SeedOf(r.Found.Metadata)
	if err != nil {
		return err
	}
	seed.Origin = r.origin()
	meta, err := describe(seed)
	if err != nil {
		return err
	}
	return kv.Resettle(s, meta, r.Move)
}

// origin tells apart what is restored of other files, or otherwise.
func (r *Restoring) origin() [sha256.Size]byte {
	text := append([]byte("mimir snapshot"), r.Snapshot.Digest[:]...)
	text = binary.BigEndian.AppendUint64(text, uint64(r.Move.Bump))
	if r.Move.Compact {
		text = append(text, 1)
	}
	if r.Log != nil {
		text = append(append(text, "archived log"...), r.Reached.Cursor.Chain[:]...)
	}
	return sha256.Sum256(text)
}

// Look unpacks a snapshot into a directory of its own below dir (the machine's for temporary files, if that is empty),
// reads all of it, and removes the directory.
func (s *Snapshot) Look(ctx context.Context, dir string) (sum kv.Summary, err error) {
	dir, err = os.MkdirTemp(dir, "mimir-snapshot-")
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = s.Unpacked(ctx, filepath.Join(dir, "kv"), func(store *kv.Store) error {
		sum, err = kv.Summarize(ctx, store)
		return broken(err)
	})
	return sum, err
}

// Unpacked calls f with a store of the content, in a new directory, which is removed afterwards.
func (s *Snapshot) Unpacked(ctx context.Context, dir string, f func(*kv.Store) error) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := kv.Open(kv.Options{Dir: dir, CountBytes: -1, Logger: quiet})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := s.unpack(ctx, store); err != nil {
		return err
	}
	return f(store)
}

// unpack makes the content that of a store.
func (s *Snapshot) unpack(ctx context.Context, store *kv.Store) error {
	file, err := whole.Open(ctx, s.Path)
	if err != nil {
		return err
	}
	err = store.Restore(file, nil)
	return errors.Join(broken(file.Told(err)), file.Close())
}
