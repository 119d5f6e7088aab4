package kv

import (
	"context"
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"
)

// Hash returns a CRC-32C over all versions up to rev (the current revision if rev is not positive) that compaction lets
// be read, in order of keys and then from new to old, with the compaction and the current revision at that moment. It is equal on
// all nodes of equal history, whatever compaction has physically removed. Errors: ErrCompacted, ErrFutureRevision, the
// context's.
func (s *Store) Hash(ctx context.Context, rev int64) (hash uint32, compactRev, currentRev int64, err error) {
	g, err := s.acquire()
	if err != nil {
		return 0, 0, 0, err
	}
	defer g.release()
	for {
		st := g.state.Load()
		it, err := g.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableKeys}, UpperBound: []byte{tableKeys + 1}})
		if err != nil {
			return 0, 0, 0, err
		}
		if g.state.Load().compact != st.compact {
			// What the iterator shows may have been removed already by a later compaction.
			if err := it.Close(); err != nil {
				return 0, 0, 0, err
			}
			continue
		}
		at := rev
		if at <= 0 {
			at = st.revision
		}
		if err = st.checkRead(at); err == nil {
			hash, err = hashVersions(ctx, it, at, st.compact)
		}
		return hash, st.compact, st.revision, closeAfter(it, err)
	}
}

func hashVersions(ctx context.Context, it *pebble.Iterator, rev, compact int64) (hash uint32, err error) {
	var buffer, prefix []byte
	newest := true // below the compaction revision, of its key
	visited := 0
	for ok := it.First(); ok; ok = it.Next() {
		if visited++; visited%cancelCheckKeys == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		k := it.Key()
		if n := split(k); string(k[:n]) != string(prefix) {
			prefix, newest = append(prefix[:0], k[:n]...), true
		}
		v, err := versionAt(it)
		if err != nil {
			return 0, err
		}
		if v.main > rev {
			continue
		}
		if v.main <= compact {
			include := newest && v.kind == kindPut
			if newest = false; !include {
				continue
			}
		}
		buffer = append(buffer[:0], k...)
		buffer = v.appendHeader(buffer)
		buffer = binary.AppendUvarint(buffer, uint64(len(v.value)))
		hash = crc32.Update(hash, castagnoli, buffer)
		hash = crc32.Update(hash, castagnoli, v.value)
	}
	return hash, it.Error()
}
