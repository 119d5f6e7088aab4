package wal

import (
	"errors"
	"fmt"
	"io"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

const (
	// readChunkBytes bounds how much is read from a segment at once.
	readChunkBytes = 1 << 20
	minChunkBytes  = 2 * pointSpacingBytes
)

// scanner reads the records of a segment one after the other. Every chunk is a buffer of its own, which the records
// of it alias and nobody writes to again.
type scanner struct {
	file    io.ReaderAt
	segment uint64
	offset  int64 // of the next record
	limit   int64 // no record ends after it
	chunk   int64
	buffer  []byte // begins at offset
}

// next returns the record at s.offset and moves past it. The error is errInvalid if there is none.
func (s *scanner) next() (record, error) {
	if err := s.fill(recordHeaderBytes); err != nil {
		return record{}, err
	}
	r, dataBytes, sum, ok := decodeRecordHeader(s.buffer, s.segment, s.offset)
	if !ok || s.limit-s.offset < recordBytes(dataBytes) {
		return record{}, errInvalid
	}
	if err := s.fill(recordBytes(dataBytes)); err != nil {
		return record{}, err
	}
	r.data = s.buffer[recordHeaderBytes : recordHeaderBytes+dataBytes : recordHeaderBytes+dataBytes]
	if checksum.Of(r.data) != sum {
		return record{}, errInvalid
	}
	s.skip(recordBytes(dataBytes))
	return r, nil
}

func (s *scanner) skip(n int64) {
	s.offset += n
	s.buffer = s.buffer[min(n, int64(len(s.buffer))):]
}

// fill makes the buffer hold n bytes from s.offset on. The error is errInvalid if the segment is shorter.
func (s *scanner) fill(n int64) error {
	if int64(len(s.buffer)) >= n {
		return nil
	}
	size := min(max(s.chunk, n), s.limit-s.offset)
	if size < n {
		return errInvalid
	}
	fresh := make([]byte, size)
	have := copy(fresh, s.buffer)
	got, err := s.file.ReadAt(fresh[have:], s.offset+int64(have))
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wal: read segment %d at offset %d: %w", s.segment, s.offset+int64(have), err)
	}
	s.buffer = fresh[:have+got]
	if int64(len(s.buffer)) < n {
		return errInvalid
	}
	return nil
}

// slab holds the parts of an entry that raftpb keeps by pointer, so that a run of entries costs few allocations.
type slab struct {
	entry       raftpb.Entry
	index, term uint64
	entryType   raftpb.EntryType
}

const slabEntries = 64

// span is a run of physically consecutive records that holds the entries [lo, hi).
type span struct {
	segment *segment
	name    string
	offset  int64 // of a record at or before that of lo
	limit   int64
	lo, hi  uint64
}

// entryBytes is an upper bound of what raftpb needs to encode an entry with so much data.
func entryBytes(dataBytes int) uint64 { return uint64(dataBytes) + 32 }

// read returns entries of the span from lo on, as many as fit into maxBytes, but at least one unless atLeastOne is
// false.
func (sp span) read(maxBytes uint64, atLeastOne bool) (entries []*raftpb.Entry, size uint64, err error) {
	scan := scanner{file: sp.segment.file, segment: sp.segment.number, offset: sp.offset, limit: sp.limit}
	var slabs []slab
	for next := sp.lo; next < sp.hi && (size < maxBytes || len(entries) == 0); {
		offset := scan.offset
		scan.chunk = int64(min(max(maxBytes-size, minChunkBytes), readChunkBytes))
		r, err := scan.next()
		switch {
		case errors.Is(err, errInvalid):
			return nil, 0, corruptAt(sp.name, offset, fmt.Errorf("entry %d: %w", next, err))
		case err != nil:
			return nil, 0, err
		case r.kind != kindEntry || r.index < sp.lo:
			continue
		case r.index != next:
			return nil, 0, corruptAt(sp.name, offset, fmt.Errorf("entry %d where %d belongs", r.index, next))
		}
		if size += entryBytes(len(r.data)); size > maxBytes && !(atLeastOne && len(entries) == 0) {
			return entries, size, nil
		}
		if len(slabs) == 0 {
			slabs = make([]slab, min(slabEntries, sp.hi-next))
		}
		entries = append(entries, slabs[0].fill(r))
		slabs = slabs[1:]
		next++
	}
	return entries, size, nil
}

func (s *slab) fill(r record) *raftpb.Entry {
	s.index, s.term, s.entryType = r.index, r.term, r.entryType
	s.entry.Index, s.entry.Term, s.entry.Type = &s.index, &s.term, &s.entryType
	if len(r.data) > 0 {
		s.entry.Data = r.data
	}
	return &s.entry
}
