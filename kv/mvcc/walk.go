package mvcc

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// cancelCheckKeys is how many keys a walk visits between two looks at its context.
const cancelCheckKeys = 1024

// Visitor receives a key and its version. Both are valid only during the call.
type Visitor func(key []byte, v *Version) error

// barrenKeys is how many entries in a row without a key that exists make a scan ask how far that goes.
const barrenKeys = 256

// scan walks it, whose bounds are those of a span, over the versions that exist at rev. See Reader.Scan.
func scan(
	ctx context.Context, it *pebble.Iterator, rev, limit int64,
	skip func(key []byte, rev int64) (next []byte, ok bool), visit Visitor,
) (count int64, err error) {
	var seek []byte
	visited, newer, barren := 0, 0, 0
	for ok := it.First(); ok; {
		if visited++; visited%cancelCheckKeys == 0 && ctx.Err() != nil {
			return count, ctx.Err()
		}
		k := it.Key()
		prefix := split(k)
		if barren++; barren > barrenKeys && skip != nil {
			barren = 0
			var on bool
			if seek, on, err = skipTo(seek, k[:prefix], rev, skip); err != nil || !on {
				return count, err
			}
			if compareKeys(seek, k) > 0 {
				ok = it.SeekGE(seek)
				continue
			}
		}
		at, kind, err := decodeSuffix(k[prefix:])
		if err != nil {
			return count, err
		}
		if at.Main > rev {
			if newer++; newer < stepsBeforeSeek { // few keys have many
				ok = it.Next()
				continue
			}
			newer = 0
			seek = appendSuffix(append(seek[:0], k[:prefix]...), last(rev), 0)
			ok = it.SeekGE(seek)
			continue
		}
		if kind == KindPut {
			barren = 0
			if count++; count <= limit {
				if err := visitAt(it, k[:prefix], at, visit); err != nil {
					return count, err
				}
			}
		}
		ok = it.NextPrefix()
	}
	return count, it.Error()
}

// skipTo returns where a scan goes on that found nothing for long and stands at the key with the prefix; on is false if
// nothing follows.
func skipTo(
	dst, prefix []byte, rev int64, skip func(key []byte, rev int64) (next []byte, ok bool),
) (seek []byte, on bool, err error) {
	key, err := userKey(prefix, tableBytes)
	if err != nil {
		return dst, false, err
	}
	next, on := skip(key, rev)
	return appendKeyPrefix(dst[:0], next), on, nil
}

// visitAt calls visit with the put at which it stands.
func visitAt(it *pebble.Iterator, prefix []byte, at Stamp, visit Visitor) error {
	v := Version{Stamp: at, Kind: KindPut}
	if err := decodeAt(it, &v); err != nil {
		return err
	}
	key, err := userKey(prefix, tableBytes)
	if err != nil {
		return err
	}
	return visit(key, &v)
}

// decodeAt decodes the value at which it stands.
func decodeAt(it *pebble.Iterator, v *Version) error {
	p, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	return v.decode(p)
}

// seekVersion finds the newest version of a key at or before the stamp. target is a buffer to use.
func seekVersion(it *pebble.Iterator, target, key []byte, at Stamp) (v Version, buffer []byte, err error) {
	buffer = appendSuffix(appendKeyPrefix(target[:0], key), at, 0)
	if !it.SeekPrefixGE(buffer) {
		return Version{}, buffer, it.Error()
	}
	if v, err = versionAt(it); err != nil {
		return Version{}, buffer, fmt.Errorf("key %x: %w", key, err)
	}
	return v, buffer, nil
}

// versionAt decodes the version at which it stands.
func versionAt(it *pebble.Iterator) (v Version, err error) {
	k := it.Key()
	if v.Stamp, v.Kind, err = decodeSuffix(k[split(k):]); err != nil {
		return Version{}, err
	}
	return v, decodeAt(it, &v)
}
