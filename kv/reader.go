package kv

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// reader reads versions: of a database, or of a database with the batch that is being applied to it.
type reader interface {
	// newest returns the newest version of key at or below rev, a delete included; the zero version if there is none. The
	// value may alias memory of the reader until the next call.
	newest(key []byte, rev int64) (version, error)
	// scan counts the keys of sp that exist at rev, and calls visit for the first limit of them, in order. Key and value are
	// valid only during the call; an error of visit ends the scan.
	scan(ctx context.Context, sp span, rev, limit int64, visit visitor) (count int64, err error)
}

// errEnough is what a visitor returns that wants no more.
var errEnough = errors.New("kv: enough keys visited")

// cancelCheckKeys is how many keys a scan visits between two looks at its context.
const cancelCheckKeys = 1024

// visitor receives a key and its version. Both are valid only during the call.
type visitor func(key []byte, v *version) error

// scanVersions walks it, whose bounds are those of a span, over the versions that exist at rev. See reader.scan.
func scanVersions(ctx context.Context, it *pebble.Iterator, rev, limit int64, visit visitor) (count int64, err error) {
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
		if at.main > rev {
			seek = appendSuffix(append(seek[:0], k[:prefix]...), last(rev), 0)
			ok = it.SeekGE(seek)
			continue
		}
		if kind == kindPut {
			if count++; count <= limit {
				v := version{stamp: at, kind: kind}
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
func decodeAt(it *pebble.Iterator, v *version) error {
	p, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	return v.decode(p)
}

// seekVersion finds the newest version of a key at or before the stamp. target is a buffer to use.
func seekVersion(it *pebble.Iterator, target, key []byte, at stamp) (v version, buffer []byte, err error) {
	buffer = appendSuffix(appendKeyPrefix(target[:0], key), at, 0)
	if !it.SeekPrefixGE(buffer) {
		return version{}, buffer, it.Error()
	}
	if v, err = versionAt(it); err != nil {
		return version{}, buffer, fmt.Errorf("key %x: %w", key, err)
	}
	return v, buffer, nil
}

// versionAt decodes the version at which it stands.
func versionAt(it *pebble.Iterator) (v version, err error) {
	k := it.Key()
	if v.stamp, v.kind, err = decodeSuffix(k[split(k):]); err != nil {
		return version{}, err
	}
	return v, decodeAt(it, &v)
}

// snapshotReader reads a database as it is when the reader is made. Visitors must not read from it. It must be closed.
type snapshotReader struct {
	points *pebble.Iterator
	// narrowed says that the bounds are those of a scan, not of the table.
	narrowed bool
	buffer   []byte
}

func newSnapshotReader(db pebble.Reader) (*snapshotReader, error) {
	points, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableKeys}, UpperBound: []byte{tableKeys + 1}})
	if err != nil {
		return nil, err
	}
	return &snapshotReader{points: points}, nil
}

func (r *snapshotReader) Close() error { return r.points.Close() }

func (r *snapshotReader) newest(key []byte, rev int64) (v version, err error) {
	if r.narrowed {
		r.points.SetBounds([]byte{tableKeys}, []byte{tableKeys + 1})
		r.narrowed = false
	}
	v, r.buffer, err = seekVersion(r.points, r.buffer, key, last(rev))
	return v, err
}

func (r *snapshotReader) scan(ctx context.Context, sp span, rev, limit int64, visit visitor) (int64, error) {
	r.points.SetBounds(sp.bounds())
	r.narrowed = true
	return scanVersions(ctx, r.points, rev, limit, visit)
}
