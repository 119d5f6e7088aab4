package wal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// pointSpacingBytes is how far apart the points of the sparse index are: what a read of one entry may have to skip.
const pointSpacingBytes = 32 << 10

// point is one point of the sparse index: an entry, where it is, and the reach of all entries before it. Points are in
// order of index, offset and reach. A point that begins a run is not physically continued from the records before it,
// because they were cut.
type point struct {
	index  uint64
	offset int64
	reach  uint64
	run    bool
}

// termRun says that entries from index on have this term.
type termRun struct{ index, term uint64 }

// segment is one file of the log. Everything but the file is guarded by the mutex of the Log; only the appender changes
// it.
//
// The reach of a run of entries is the highest position that any of them needs a reader to lack: a frame's last, a
// reign's first. A reader that has everything up to the reach needs none of them.
type segment struct {
	number    uint64
	name      string
	file      durable.File
	follows   uint64
	sealed    uint64
	prevIndex uint64
	prevTerm  uint64
	last      uint64 // the last entry that was not cut; prevIndex if there is none
	end       int64  // where its records end
	points    []point
	terms     []termRun
	base      uint64 // the reach before its first entry, or unknownReach
	baseIndex uint64 // the entry base was learnt from; zero if the header said it
	reach     uint64 // the reach after its last entry; zero while base is unknown
	cut       bool   // the next entry begins a run

	use use
}

func newSegment(h *header, name string, file durable.File) *segment {
	s := &segment{
		number: h.segment, name: name, file: file, follows: h.follows, sealed: h.sealed,
		prevIndex: h.prevIndex, prevTerm: h.prevTerm, last: h.prevIndex, end: headerBytes, base: h.reach,
	}
	if s.base != unknownReach {
		s.reach = s.base
	}
	return s
}

// nextReach is the reach that a segment following this one begins with.
func (s *segment) nextReach() uint64 {
	if s.base == unknownReach {
		return unknownReach
	}
	return s.reach
}

// entryReach returns the reach of one entry; ok is false if it is not part of the history.
func entryReach(t raftpb.EntryType, data []byte) (reach, first uint64, ok bool) {
	if t != raftpb.EntryNormal {
		return 0, 0, false
	}
	h, ok := timeline.ReadHeader(data)
	if !ok || h.First == 0 {
		return 0, 0, false
	}
	if h.Kind == timeline.KindReign {
		return uint64(h.First), uint64(h.First), true
	}
	return uint64(h.Last()), uint64(h.First), true
}

// add takes note of the entry that continues the segment, at offset.
func (s *segment) add(index, term uint64, t raftpb.EntryType, data []byte, offset int64) {
	n := len(s.points)
	if n == 0 || s.cut || offset-s.points[n-1].offset >= pointSpacingBytes {
		s.points = append(s.points, point{index: index, offset: offset, reach: s.reach, run: s.cut})
		s.cut = false
	}
	if n := len(s.terms); n == 0 || s.terms[n-1].term != term {
		s.terms = append(s.terms, termRun{index, term})
	}
	if reach, first, ok := entryReach(t, data); ok {
		if s.base == unknownReach {
			s.base, s.baseIndex = first-1, index
			s.reach = s.base
		}
		s.reach = max(s.reach, reach)
	}
	s.last = index
	s.end = offset + recordBytes(len(data))
}

// cutFrom forgets the entries from index on. reach is that of the entries before it.
func (s *segment) cutFrom(index, reach uint64) {
	n, _ := slices.BinarySearchFunc(s.points, index, func(p point, i uint64) int { return cmp.Compare(p.index, i) })
	s.points = s.points[:n]
	n, _ = slices.BinarySearchFunc(s.terms, index, func(t termRun, i uint64) int { return cmp.Compare(t.index, i) })
	s.terms = s.terms[:n]
	s.last, s.cut = index-1, true
	if s.reach = reach; s.baseIndex >= index {
		s.base, s.baseIndex, s.reach = unknownReach, 0, 0
	}
}

// term returns the term of an entry of the segment, or of the one before its first.
func (s *segment) term(index uint64) uint64 {
	if index == s.prevIndex {
		return s.prevTerm
	}
	n := len(s.terms)
	if s.terms[n-1].index > index {
		n = sort.Search(n, func(i int) bool { return s.terms[i].index > index })
	}
	return s.terms[n-1].term
}

// pointBefore returns the last point at or before an entry of the segment, and the entry at which its run of physically
// consecutive records ends (exclusive). The result is no further than hi.
func (s *segment) pointBefore(index, hi uint64) (point, uint64) {
	n := sort.Search(len(s.points), func(i int) bool { return s.points[i].index > index })
	until := min(hi, s.last+1)
	for _, p := range s.points[n:] {
		if p.index >= until {
			break
		}
		if p.run {
			until = p.index
			break
		}
	}
	return s.points[n-1], until
}

// corrupt returns the error for damage at an offset of the segment.
func (s *segment) corrupt(offset int64, format string, args ...any) error {
	return corruptAt(s.name, offset, fmt.Errorf(format, args...))
}

func corruptAt(name string, offset int64, err error) error {
	return fmt.Errorf("%w: %s at offset %d: %w", ErrCorrupt, name, offset, err)
}

const (
	pointBytes   = 32
	termRunBytes = 16
	indexBytes   = 24
)

// encodeIndex returns the data of the index record that seals the segment.
func (s *segment) encodeIndex() []byte {
	b := make([]byte, 0, indexBytes+pointBytes*len(s.points)+termRunBytes*len(s.terms))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.points)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.terms)))
	b = binary.LittleEndian.AppendUint64(b, s.base)
	b = binary.LittleEndian.AppendUint64(b, s.baseIndex)
	for _, p := range s.points {
		b = binary.LittleEndian.AppendUint64(b, p.index)
		b = binary.LittleEndian.AppendUint64(b, uint64(p.offset))
		b = binary.LittleEndian.AppendUint64(b, p.reach)
		var run uint64
		if p.run {
			run = 1
		}
		b = binary.LittleEndian.AppendUint64(b, run)
	}
	for _, t := range s.terms {
		b = binary.LittleEndian.AppendUint64(b, t.index)
		b = binary.LittleEndian.AppendUint64(b, t.term)
	}
	return b
}

// decodeIndex takes over what the index record at offset s.end says.
func (s *segment) decodeIndex(r record) error {
	b := r.data
	if len(b) < indexBytes {
		return errors.New("index cut short")
	}
	points, terms := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	if uint64(len(b)) != indexBytes+points*pointBytes+terms*termRunBytes {
		return fmt.Errorf("index of %d points and %d terms in %d bytes", points, terms, len(b))
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	base, baseIndex := word(1), word(2)
	ps, ts := make([]point, 0, points), make([]termRun, 0, terms)
	at := 3
	for range points {
		p := point{index: word(at), offset: int64(word(at + 1)), reach: word(at + 2), run: word(at+3) == 1}
		if p.offset < headerBytes || p.offset >= s.end || p.index <= s.prevIndex || p.index > r.index {
			return fmt.Errorf("index points entry %d to offset %d", p.index, p.offset)
		}
		if n := len(ps); n > 0 && (p.index <= ps[n-1].index || p.offset <= ps[n-1].offset) {
			return fmt.Errorf("index out of order at entry %d", p.index)
		}
		ps, at = append(ps, p), at+4
	}
	for range terms {
		t := termRun{word(at), word(at + 1)}
		if n := len(ts); t.index <= s.prevIndex || t.index > r.index || (n > 0 && t.index <= ts[n-1].index) {
			return fmt.Errorf("index out of order at term %d", t.term)
		}
		ts, at = append(ts, t), at+2
	}
	if first := s.prevIndex + 1; r.index >= first &&
		(points == 0 || terms == 0 || ps[0].index != first || ts[0].index != first) || r.index < s.prevIndex {
		return fmt.Errorf("index does not begin with entry %d", first)
	}
	// The reach after the last entry travels in the term field of the record: an index has no term.
	s.points, s.terms, s.base, s.baseIndex, s.last, s.reach = ps, ts, base, baseIndex, r.index, r.term
	return nil
}
