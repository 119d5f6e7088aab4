package mvcc

import (
	"context"
	"encoding/binary"
	"hash/crc32"
)

// Hash returns a CRC-32C over all versions up to rev that the compaction at compact lets be read, in order of keys
// and then from new to old. It does not depend on how much of what that compaction put out of reach is still there.
func (r *Reader) Hash(ctx context.Context, rev, compact int64) (hash uint32, err error) {
	r.whole()
	it := r.points
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
		if v.Main > rev {
			continue
		}
		if v.Main <= compact {
			include := newest && v.Kind == KindPut
			if newest = false; !include {
				continue
			}
		}
		buffer = append(buffer[:0], k...)
		buffer = v.appendHeader(buffer)
		buffer = binary.AppendUvarint(buffer, uint64(len(v.Value)))
		hash = crc32.Update(hash, castagnoli, buffer)
		hash = crc32.Update(hash, castagnoli, v.Value)
	}
	return hash, it.Error()
}
