package wal

import (
	"fmt"
	"sort"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Entries returns entries [lo, hi), as many as fit into maxBytes but at least one: from memory if they are recent,
// otherwise from disk. They must not be changed. Entries read together may share memory, so keep them together or not
// at all.
//
// The error is raft.ErrCompacted if lo is before FirstIndex(), raft.ErrUnavailable if hi is after LastIndex()+1, and
// ErrCorrupt if an entry is damaged.
func (l *Log) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	var entries []*raftpb.Entry
	var size uint64
	for lo < hi {
		l.mu.RLock()
		err := l.holds(lo, hi)
		if err != nil || lo >= l.cache.first {
			if err == nil {
				entries = l.cache.appendTo(entries, lo, hi, size, maxBytes)
			}
			l.mu.RUnlock()
			if len(entries) > 0 {
				return entries, nil
			}
			return nil, err
		}
		sp := l.holding(lo).span(lo, min(hi, l.cache.first))
		sp.segment.enter()
		l.mu.RUnlock()
		more, read, err := sp.read(maxBytes-size, len(entries) == 0)
		sp.segment.leave(l.options.FS)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			entries = more
		} else {
			entries = append(entries, more...)
		}
		if lo += uint64(len(more)); lo < sp.hi {
			break
		}
		if size += read; size >= maxBytes {
			break
		}
	}
	return entries, nil
}

func (l *Log) holds(lo, hi uint64) error {
	switch {
	case l.closed:
		return ErrClosed
	case lo < l.first():
		return raft.ErrCompacted
	case hi > l.tail().last+1:
		return raft.ErrUnavailable
	}
	return nil
}

// span returns where to read [lo, hi), or the first part of it. The segment holds lo.
func (s *segment) span(lo, hi uint64) span {
	p, until := s.pointBefore(lo, hi)
	return span{segment: s, name: s.name, offset: p.offset, limit: s.end, lo: lo, hi: until}
}

// reachBefore returns the reach of the log before an entry of the segment, or after its last one. Only the appender
// calls it.
func (s *segment) reachBefore(index uint64) (uint64, error) {
	if index > s.last {
		return s.reach, nil
	}
	if index == s.prevIndex+1 {
		if s.base == unknownReach || s.baseIndex != 0 {
			return 0, nil
		}
		return s.base, nil
	}
	p, _ := s.pointBefore(index, index)
	reach := p.reach
	if s.baseIndex >= p.index && s.baseIndex < index {
		reach = s.base
	}
	for lo := p.index; lo < index; {
		entries, _, err := s.span(lo, index).read(readChunkBytes, true)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if r, _, ok := entryReach(e.GetType(), e.Data); ok {
				reach = max(reach, r)
			}
		}
		lo += uint64(len(entries))
	}
	return reach, nil
}

// FirstPosition returns the least position from which Seek can serve a reader. ok is false while none is known: after a
// Reset, until a history entry is appended.
func (l *Log) FirstPosition() (pos timeline.Position, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.firstPosition()
}

func (l *Log) firstPosition() (timeline.Position, bool) {
	if b, ok := l.based(); ok {
		return timeline.Position(b.position), true
	}
	for _, s := range l.segments {
		if s.base != unknownReach {
			return timeline.Position(s.base), true
		}
	}
	return 0, false
}

// Seek returns the index from which a reader that has everything up to pos has to read: that of the first frame that
// ends after pos or reign that begins after it, LastIndex()+1 if there is none. Every entry that holds pos+1, and the
// reign that begins there, is at or after it.
//
// The log holds entries that the history refused as well (of a deposed primary, or twice): the reader has to check that
// what it finds continues what it has. The error is raft.ErrCompacted if entries that may hold pos+1 were released, or
// nothing is known about positions. The cost is a look into the sparse index and a read of what lies between two points
// of it.
func (l *Log) Seek(pos timeline.Position) (uint64, error) {
	next, last, err := l.seekPoint(uint64(pos))
	if err != nil {
		return 0, err
	}
	for next <= last {
		entries, err := l.Entries(next, last+1, 2*pointSpacingBytes)
		if err != nil {
			return 0, fmt.Errorf("seek position %d: %w", pos, err)
		}
		for i, e := range entries {
			if reach, _, ok := entryReach(e.GetType(), e.Data); ok && reach > uint64(pos) {
				return next + uint64(i), nil
			}
		}
		next += uint64(len(entries))
	}
	return next, nil
}

// seekPoint returns an entry that is at or not far before the one Seek looks for.
func (l *Log) seekPoint(pos uint64) (next, last uint64, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return 0, 0, ErrClosed
	}
	first, ok := l.firstPosition()
	if !ok || pos < uint64(first) {
		return 0, 0, fmt.Errorf("seek position %d, the log begins after %d: %w", pos, first, raft.ErrCompacted)
	}
	least := l.first()
	if b, ok := l.based(); ok {
		least = b.index + 1
	}
	for i := len(l.segments) - 1; i >= 0; i-- {
		points := l.segments[i].points
		if n := sort.Search(len(points), func(i int) bool { return points[i].reach > pos }); n > 0 {
			return max(points[n-1].index, least), l.tail().last, nil
		}
	}
	return least, l.tail().last, nil
}
