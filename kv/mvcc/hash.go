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
	buffer := binary.BigEndian.AppendUint64(nil, uint64(rev))
	hash = crc32.Checksum(buffer, castagnoli)
	err = r.visible(ctx, rev, floor, whole, func(k []byte, v *Version) error {
		buffer = v.appendTold(buffer[:0], k)
		hash = crc32.Update(hash, castagnoli, buffer)
		hash = crc32.Update(hash, castagnoli, v.Value)
		return nil
	})
	return hash, err
}

// appendTold appends what is summed of a version under a key of the table, before its value.
func (v *Version) appendTold(dst, k []byte) []byte {
	return binary.AppendUvarint(v.appendHeader(append(dst, k...)), uint64(len(v.Value)))
}

// visible calls visit with the versions within the bounds, up to rev, in the order of the table: of those up to floor
// only the newest of each key, if it is a put, and besides every one from whole on.
func (r *Reader) visible(
	ctx context.Context, rev, floor, whole int64, visit func(k []byte, v *Version) error,
) error {
	it := r.points
	var prefix []byte
	newest := true // up to floor, of its key
	visited := 0
	for ok := it.First(); ok; ok = it.Next() {
		if visited++; visited%cancelCheckKeys == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		k := it.Key()
		if n := split(k); string(k[:n]) != string(prefix) {
			prefix, newest = append(prefix[:0], k[:n]...), true
		}
		v, err := versionAt(it)
		if err != nil {
			return err
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
		if err := visit(k, &v); err != nil {
			return err
		}
	}
	return it.Error()
}
