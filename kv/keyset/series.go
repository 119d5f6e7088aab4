package keyset

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"
)

// series is how a count changed from revision to revision. A change is one key that began or ceased to exist: two or
// three bytes, seldom four, and half as much for the chunks. The first one of a series takes about fifty.
type series struct {
	count  int64 // after all changes
	since  int64 // the first revision at which it can be told; unknown if at none
	last   int64 // revision of the last change
	chunks []chunk
}

// unknown is since when nothing is known.
const unknown = math.MaxInt64

// chunk is changes that are read together: of each, as one uvarint, how many revisions it is after the one before,
// shifted by one bit, which is set if a key ceased to exist.
type chunk struct {
	first   int64 // revision of the first of them
	before  int64 // the count before it
	changes []byte
}

const (
	chunkBytes     = 120 // it is closed with as many
	chunkOverhead  = 8 + 8 + 24
	seriesOverhead = 8 + 8 + 8 + 24
)

// change is a revision, shifted by one bit, which is set if a key ceased to exist then.
type change uint64

func newChange(rev int64, exists bool) change {
	c := change(rev) << 1
	if !exists {
		c |= 1
	}
	return c
}

func (c change) revision() int64 { return int64(c >> 1) }

// sum is what the change does to a count.
func (c change) sum() int64 { return 1 - 2*int64(c&1) }

// newSeries makes a series of its count at since and the changes after it, which it sorts.
func newSeries(since, count int64, changes []change) series {
	s := series{since: since, count: count}
	slices.Sort(changes)
	for _, c := range changes {
		s.add(c)
	}
	if n := len(s.chunks); n > 0 {
		s.chunks = slices.Clone(s.chunks)
		s.chunks[n-1].changes = slices.Clone(s.chunks[n-1].changes)
	}
	return s
}

// add adds a change, which is not older than any before, and returns by how many bytes the series grew.
func (s *series) add(c change) (grown int) {
	rev := c.revision()
	if n := len(s.chunks); n == 0 || len(s.chunks[n-1].changes) >= chunkBytes {
		was := cap(s.chunks)
		s.chunks = append(s.chunks, chunk{first: rev, before: s.count})
		s.last = rev
		grown = (cap(s.chunks) - was) * chunkOverhead
	}
	k := &s.chunks[len(s.chunks)-1]
	was := cap(k.changes)
	k.changes = binary.AppendUvarint(k.changes, uint64(rev-s.last)<<1|uint64(c&1))
	s.last = rev
	s.count += c.sum()
	return grown + cap(k.changes) - was
}

// at returns the count at a revision, if it can be told.
func (s *series) at(rev int64) (count int64, ok bool) {
	switch {
	case rev < s.since:
		return 0, false
	case len(s.chunks) == 0 || rev >= s.last:
		return s.count, true
	}
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].first > rev })
	if i == 0 {
		return s.chunks[0].before, true
	}
	k := &s.chunks[i-1]
	count = k.before
	k.each(func(c change) bool {
		if c.revision() > rev {
			return false
		}
		count += c.sum()
		return true
	})
	return count, true
}

// each calls f with each change until it wants no more.
func (k *chunk) each(f func(c change) (more bool)) {
	rev := k.first
	for p := k.changes; len(p) > 0; {
		u, n := binary.Uvarint(p)
		p = p[n:]
		rev += int64(u >> 1)
		if !f(change(rev)<<1 | change(u&1)) {
			return
		}
	}
}

// after appends the changes after a revision to dst.
func (s *series) after(rev int64, dst []change) []change {
	if rev >= s.last {
		return dst
	}
	for i := range s.chunks {
		if i+1 < len(s.chunks) && s.chunks[i+1].first <= rev {
			continue
		}
		s.chunks[i].each(func(c change) bool {
			if c.revision() > rev {
				dst = append(dst, c)
			}
			return true
		})
	}
	return dst
}

// forget lets go of what is only needed below a revision, and returns how many bytes that freed.
func (s *series) forget(rev int64) (freed int) {
	if s.since == unknown || rev <= s.since {
		return 0
	}
	before := s.bytes()
	s.since = rev
	if rev >= s.last {
		s.chunks = nil
		return before - s.bytes()
	}
	needed := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].first > rev })
	if needed > 1 {
		s.chunks = slices.Clone(s.chunks[needed-1:])
	}
	return before - s.bytes()
}

// bytes returns how much memory it takes.
func (s *series) bytes() int {
	bytes := seriesOverhead + cap(s.chunks)*chunkOverhead
	for i := range s.chunks {
		bytes += cap(s.chunks[i].changes)
	}
	return bytes
}

// merged returns the sum of series, which begins where all of them can be told.
func merged(of []*block) series {
	var since int64
	for _, b := range of {
		since = max(since, b.since)
	}
	if since == unknown {
		return series{since: unknown}
	}
	var count int64
	var changes []change
	for _, b := range of {
		n, _ := b.at(since)
		count += n
		changes = b.after(since, changes)
	}
	return newSeries(since, count, changes)
}
