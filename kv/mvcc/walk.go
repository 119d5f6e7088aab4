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

// scan walks it, whose bounds are those of a span, over the versions that exist at rev. See Reader.Scan.
func scan(ctx context.Context, it *pebble.Iterator, rev, limit int64, visit Visitor) (count int64, err error) {
	var seek []byte
	visited := 0
	for ok := it.First(); ok; {
		if visited++; visited%cancelCheckKeys == 0 && ctx.Err() != nil {
			return count, ctx.Err()
		}
		k := it.Key()
		prefix := split(k)
		at, kind, err := decodeSuffix(k[prefix:])
		if err != nil {
			return count, err
		}
		if at.Main > rev {
			seek = appendSuffix(append(seek[:0], k[:prefix]...), last(rev), 0)
			ok = it.SeekGE(seek)
			continue
		}
		if kind == KindPut {
			if count++; count <= limit {
				v := Version{Stamp: at, Kind: kind}
				if err := decodeAt(it, &v); err != nil {
					return count, err
				}
				key, err := userKey(k[:prefix], tableBytes)
				if err != nil {
					return count, err
				}
				if err := visit(key, &v); err != nil {
					return count, err
				}
			}
		}
		ok = it.NextPrefix()
	}
	return count, it.Error()
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
