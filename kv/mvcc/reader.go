package mvcc

import (
	"cmp"
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/command"
)

// NoLimit is the limit of a scan that has none.
const NoLimit = 1<<63 - 1

// Reader reads versions of a database, or of one with the batch that is being applied to it, as it is when the reader
// is made. Visitors must not read from it. It is used by one goroutine, and must be closed.
type Reader struct {
	// Skip returns the first key from key on that can exist at rev, ok false if there is none. A scan asks it where it
	// finds many keys that do not. May be nil.
	Skip func(key []byte, rev int64) (next []byte, ok bool)

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
	return scan(ctx, r.points, rev, limit, r.Skip, visit)
}

// Changed calls visit with each change of the revisions from from up to rev, in order, and then returns true; false if
// they are more than most. The key is valid during the call. Those below a compaction are missing.
func (r *Reader) Changed(from, rev, most int64, visit func(key []byte, at Stamp)) (whole bool, err error) {
	it, err := r.points.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{
		LowerBound: appendRevision(nil, Stamp{Main: from}), UpperBound: appendRevision(nil, Stamp{Main: rev + 1}),
	}})
	if err != nil {
		return false, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if most--; most < 0 {
			return false, it.Close()
		}
		at, err := decodeRevision(it.Key())
		if err != nil {
			return false, cmp.Or(err, it.Close())
		}
		visit(it.Value(), at)
	}
	return true, cmp.Or(it.Error(), it.Close())
}

// Steps returns how many steps and seeks the reader has made for Newest, Scan and Lives.
func (r *Reader) Steps() (n int) {
	s := r.points.Stats()
	for _, of := range [][pebble.NumStatsKind]int{
		s.ForwardSeekCount, s.ReverseSeekCount, s.ForwardStepCount, s.ReverseStepCount,
	} {
		n += of[pebble.InterfaceCall]
	}
	return n
}
