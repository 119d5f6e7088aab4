package mvcc

import (
	"context"
	"encoding/binary"
	"hash/crc32"
)

// Hashes are CRC-32Cs that begin with the revision that they are of, so that they tell apart what holds the same, or
// nothing, at another one.

// HashHistory returns the hash of all versions up to rev that the compaction at compact lets be read or watched, in
// order of keys and then from new to old. It does not depend on how much of what that compaction put out of reach is
// still there.
func (r *Reader) HashHistory(ctx context.Context, rev, compact int64) (hash uint32, err error) {
	return r.hash(ctx, rev, compact, compact)
}

// HashContent returns the hash of what can be read at rev, in order of keys. No compaction that lets it be read changes
// it.
func (r *Reader) HashContent(ctx context.Context, rev int64) (hash uint32, err error) {
	return r.hash(ctx, rev, rev, rev+1)
}

// hash returns the hash of the versions up to rev: of those up to floor only the newest of each key, if it is a put,
// and besides every one from whole on.
func (r *Reader) hash(ctx context.Context, rev, floor, whole int64) (hash uint32, err error) {
	r.whole()
	it := r.points
	buffer := binary.BigEndian.AppendUint64(nil, uint64(rev))
	hash = crc32.Checksum(buffer, castagnoli)
	var prefix []byte
	newest := true // up to floor, of its key
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
		include := v.Main >= whole
		if v.Main <= floor {
			include = include || newest && v.Kind == KindPut
			newest = false
		}
		if !include {
			continue
		}
		buffer = append(buffer[:0], k...)
		buffer = v.appendHeader(buffer)
		buffer = binary.AppendUvarint(buffer, uint64(len(v.Value)))
		hash = crc32.Update(hash, castagnoli, buffer)
		hash = crc32.Update(hash, castagnoli, v.Value)
	}
	return hash, it.Error()
}
