package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/mimir-kv/mimir/replication"
)

// Store counts words. A command is a word; its result is how often the word was written, in decimal. It is safe for
// concurrent use.
type Store struct {
	path string

	mu sync.RWMutex // held for writing while the file is replaced
	db *bbolt.DB
}

var _ replication.Storage = (*Store)(nil)

var (
	bucketCounts = []byte("counts")
	bucketMeta   = []byte("meta")
	keyMeta      = []byte("replication")
)

// Open opens the store in the directory dir, and makes both if they are missing.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{path: filepath.Join(dir, "counts.db")}
	// What a restore left unfinished is not needed any more.
	if err := os.Remove(s.path + incoming); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	db, err := openFile(s.path)
	if err != nil {
		return nil, err
	}
	s.db = db
	return s, syncDir(dir)
}

// mapBytes is how far the file is mapped from the beginning. bbolt maps a file anew when it outgrows its map, and waits
// for every read transaction before it does: a snapshot that is being written out would hold up the writes. This takes
// address space, not memory.
const mapBytes = 64 << 30

func openFile(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{InitialMmapSize: mapBytes})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketCounts)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(bucketMeta)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return db, nil
}

// Close closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.Close()
}

// Count returns how often a word was written, as far as this node knows.
func (s *Store) Count(word string) (n uint64, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err = s.db.View(func(tx *bbolt.Tx) error {
		n = decode(tx.Bucket(bucketCounts).Get([]byte(word)))
		return nil
	})
	return n, err
}

// Load implements replication.Storage.
func (s *Store) Load() (meta *replication.Metadata, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err = s.db.View(func(tx *bbolt.Tx) error {
		encoded := tx.Bucket(bucketMeta).Get(keyMeta)
		if encoded == nil {
			return nil
		}
		meta = new(replication.Metadata)
		return meta.UnmarshalBinary(encoded)
	})
	return meta, err
}

// Apply implements replication.Storage: one transaction, synced by bbolt when it commits.
func (s *Store) Apply(b *replication.Batch) (results [][]byte, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		counts := tx.Bucket(bucketCounts)
		for _, c := range b.Commands {
			if len(c.Data) == 0 || len(c.Data) > bbolt.MaxKeySize {
				// What cannot be done is a result, the same on every node; an error would stop the node.
				results = append(results, []byte("not a word"))
				continue
			}
			n := decode(counts.Get(c.Data)) + 1
			// bbolt keeps the key until the transaction ends, and the batch lives as long as this call.
			if err := counts.Put(c.Data, binary.BigEndian.AppendUint64(nil, n)); err != nil {
				return err
			}
			results = append(results, fmt.Append(nil, n))
		}
		return save(tx, b.Metadata)
	})
	return results, err
}

// Begin implements replication.Storage. Counters do not care who is primary.
func (s *Store) Begin(_ replication.Reign, meta *replication.Metadata) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.db.Update(func(tx *bbolt.Tx) error { return save(tx, meta) })
}

// Sync implements replication.Storage: every transaction was synced when it was committed.
func (s *Store) Sync() error { return nil }

func save(tx *bbolt.Tx, meta *replication.Metadata) error {
	encoded, err := meta.MarshalBinary()
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyMeta, encoded)
}

func decode(p []byte) uint64 {
	if p == nil {
		return 0
	}
	return binary.BigEndian.Uint64(p)
}

// Snapshot implements replication.Storage: a read transaction sees the state as of now, whatever is written later.
func (s *Store) Snapshot() (replication.Snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, err
	}
	return view{tx}, nil
}

type view struct{ tx *bbolt.Tx }

// WriteTo writes the length of the file, the file, and its SHA-256: bbolt does not notice a file that is cut short
// before it is too late.
func (v view) WriteTo(w io.Writer) (int64, error) {
	head := binary.BigEndian.AppendUint64(nil, uint64(v.tx.Size()))
	sum := sha256.New()
	if _, err := w.Write(head); err != nil {
		return 0, err
	}
	n, err := v.tx.WriteTo(io.MultiWriter(w, sum))
	n += int64(len(head))
	if err != nil {
		return n, err
	}
	m, err := w.Write(sum.Sum(nil))
	return n + int64(m), err
}

func (v view) Close() error { return v.tx.Rollback() }
