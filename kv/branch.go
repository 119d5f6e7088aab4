package kv

import (
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication"
)

// What a branch may use, at most: it lives for seconds, beside the store.
const (
	branchCacheBytes = 32 << 20
	branchTables     = 256
)

// Branch implements replication.Brancher: a store of its own, whose tables are links to those of the checkpoint.
func (s *Store) Branch(dir string) (replication.Branch, error) {
	o := s.options
	o.Dir, o.CacheBytes, o.CountBytes = s.temporary(), min(o.CacheBytes, branchCacheBytes), -1
	o.OpenTables = min(o.OpenTables, branchTables)
	b, err := openBranch(o, dir)
	if err != nil {
		s.leftovers.drop(o.Dir)
		return nil, fmt.Errorf("kv: branch of %s: %w", dir, asDamage(err))
	}
	return &sideStore{Store: b, of: s, dir: o.Dir}, nil
}

// sideStore is a store that is gone with it.
type sideStore struct {
	*Store
	of  *Store // the one beside it
	dir string
}

// openBranch opens the store in o.Dir that begins as the checkpoint in dir. Nothing of it need survive a crash.
func openBranch(o Options, dir string) (*Store, error) {
	if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	marker, _, err := locateMarker(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	name := generationName(marker.NextIter())
	if _, err := linkCheckpoint(&o, dir, o.FS.PathJoin(o.Dir, name)); err != nil {
		return nil, errors.Join(err, marker.Close())
	}
	if err := errors.Join(marker.Move(name), marker.Close()); err != nil {
		return nil, err
	}
	return Open(o)
}

// Close implements replication.Branch.
func (b *sideStore) Close() error {
	defer b.of.leftovers.drop(b.dir)
	return b.Store.Close()
}
