package mvcc

import (
	"cmp"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// History reads changes in order of revision, all of one moment. It is used by one goroutine, and must be closed.
type History struct {
	revisions *pebble.Iterator
	points    *pebble.Iterator
	buffer    []byte
}

// OpenHistory returns the changes of the revisions from from up to to.
func OpenHistory(db pebble.Reader, from, to int64) (*History, error) {
	return openHistory(db, Stamp{Main: from}, to)
}

func openHistory(db pebble.Reader, from Stamp, to int64) (*History, error) {
	revisions, err := db.NewIter(&pebble.IterOptions{
		LowerBound: appendRevision(nil, from), UpperBound: appendRevision(nil, Stamp{Main: to + 1}),
	})
	if err != nil {
		return nil, err
	}
	lower, upper := tableBounds()
	points, err := revisions.Clone(pebble.CloneOptions{
		IterOptions: &pebble.IterOptions{LowerBound: lower, UpperBound: upper},
	})
	if err != nil {
		return nil, cmp.Or(err, revisions.Close())
	}
	return &History{revisions: revisions, points: points}, nil
}

// Close releases what the history holds.
func (h *History) Close() error { return cmp.Or(h.points.Close(), h.revisions.Close()) }

// First goes to the first change, and reports whether there is one.
func (h *History) First() bool { return h.revisions.First() }

// Next goes to the next change, and reports whether there is one.
func (h *History) Next() bool { return h.revisions.Next() }

// Err returns what ended the walk too early, or nil.
func (h *History) Err() error { return h.revisions.Error() }

// Change returns the key that changed and the place of the change. The key is valid until Next.
func (h *History) Change() (key []byte, at Stamp, err error) {
	if at, err = decodeRevision(h.revisions.Key()); err != nil {
		return nil, Stamp{}, err
	}
	return h.revisions.Value(), at, nil
}

// Version returns the version that the change of key at the stamp made. It is valid until Version, Previous or Close.
func (h *History) Version(key []byte, at Stamp) (v Version, err error) {
	v, h.buffer, err = seekVersion(h.points, h.buffer, key, at)
	if err == nil && v.Stamp != at {
		err = fmt.Errorf("%w: revision %d.%d of key %x is missing", ErrCorrupt, at.Main, at.Sub, key)
	}
	return v, err
}

// Newest returns the newest version of key at or below rev, a delete included; the zero Version if there is none. It is
// valid as one of Version is.
func (h *History) Newest(key []byte, rev int64) (v Version, err error) {
	v, h.buffer, err = seekVersion(h.points, h.buffer, key, last(rev))
	return v, err
}

// Previous returns the version before the one just returned; the zero Version if there is none.
func (h *History) Previous() (Version, error) {
	if !h.points.Next() {
		return Version{}, h.points.Error()
	}
	return versionAt(h.points)
}
