package kv

import (
	"cmp"
	"fmt"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// PlaceOf returns the revision of a store, and the metadata that was saved with it: what led to that revision is the
// history up to the place in the metadata, and nothing more. It is nil if the store is empty.
func PlaceOf(s *Store) (revision int64, meta *replication.Metadata, err error) {
	g, err := s.acquire()
	if err != nil {
		return 0, nil, err
	}
	defer g.release()
	view := g.db.NewSnapshot()
	state, err := mvcc.LoadState(view)
	var p []byte
	if err == nil {
		p, err = mvcc.LoadMetadata(view)
	}
	if err = cmp.Or(err, view.Close()); err != nil {
		return 0, nil, fmt.Errorf("kv: place: %w", err)
	}
	if p != nil {
		meta = new(replication.Metadata)
		if err := meta.UnmarshalBinary(p); err != nil {
			return 0, nil, fmt.Errorf("kv: place: %w: %w", mvcc.ErrCorrupt, err)
		}
	}
	return state.Revision, meta, nil
}
