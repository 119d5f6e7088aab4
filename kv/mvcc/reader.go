package mvcc

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/command"
)

// NoLimit is the limit of a scan that has none.
const NoLimit = 1<<63 - 1

// Reader reads versions of a database, or of one with the batch that is being applied to it, as it is when the reader
// is made. Visitors must not read from it. It is used by one goroutine, and must be closed.
type Reader struct {
	points *pebble.Iterator
	// narrowed says that the bounds are those of a scan, not of the table.
	narrowed bool
	buffer   []byte
}

// NewReader returns a reader of db as it is now.
func NewReader(db pebble.Reader) (*Reader, error) {
	lower, upper := tableBounds()
	points, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	return &Reader{points: points}, nil
}

// Close releases what the reader holds.
func (r *Reader) Close() error { return r.points.Close() }

// whole makes the bounds those of the table.
func (r *Reader) whole() {
	if r.narrowed {
		r.points.SetBounds(tableBounds())
		r.narrowed = false
	}
}

// Newest returns the newest version of key at or below rev, a delete included; the zero Version if there is none. The
// value may alias memory of the reader until the next call.
func (r *Reader) Newest(key []byte, rev int64) (v Version, err error) {
	r.whole()
	v, r.buffer, err = seekVersion(r.points, r.buffer, key, last(rev))
	return v, err
}

// Scan counts the keys of sp that exist at rev, and calls visit for the first limit of them, in order. An error of
// visit ends the scan and is returned.
func (r *Reader) Scan(ctx context.Context, sp command.Span, rev, limit int64, visit Visitor) (count int64, err error) {
	r.points.SetBounds(spanBounds(sp))
	r.narrowed = true
	return scan(ctx, r.points, rev, limit, visit)
}

var errTooMany = errors.New("kv: more keys than asked for")

// EachKey calls add with each key that exists at rev. ok is false if they are more than limit.
func (r *Reader) EachKey(rev int64, limit int, add func(key string)) (ok bool, err error) {
	r.whole()
	added := 0
	_, err = scan(context.Background(), r.points, rev, NoLimit, func(key []byte, _ *Version) error {
		if added++; added > limit {
			return errTooMany
		}
		add(string(key))
		return nil
	})
	if errors.Is(err, errTooMany) {
		return false, nil
	}
	return err == nil, err
}
