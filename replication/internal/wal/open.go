package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Open opens the log in a directory, or creates it. A torn tail, which only a crash during an Append leaves, is cut and
// reported to the logger. Damage before it, or a missing segment, is ErrCorrupt. What Open returns is durable.
func Open(o Options) (*Log, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	l := &Log{
		options: o, cache: cache{limit: o.CacheBytes}, folder: folder{fs: o.FS, dir: o.Dir, most: o.SpareSegments},
	}
	if err := durable.MakeDir(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("wal: create %s: %w", o.Dir, err)
	}
	if err := l.load(); err != nil {
		for _, s := range l.segments {
			_ = s.file.Close()
		}
		return nil, err
	}
	return l, nil
}

// load finds the segments, reads the newest, and links the others to it.
func (l *Log) load() error {
	names, err := l.options.FS.List(l.options.Dir)
	if err != nil {
		return fmt.Errorf("wal: list %s: %w", l.options.Dir, err)
	}
	var numbers []uint64
	var spares []string
	for _, name := range names {
		if n, ok := parseName(name, segmentSuffix); ok {
			numbers = append(numbers, n)
		} else if n, ok := parseName(name, spareSuffix); ok {
			spares = append(spares, filepath.Join(l.options.Dir, name))
			l.folder.number = max(l.folder.number, n)
		}
	}
	slices.Sort(numbers)
	noted, err := l.folder.readNewest()
	if err != nil {
		return err
	}
	if err := l.folder.checkNewest(numbers, noted.number); err != nil {
		return err
	}
	if len(numbers) == 0 {
		l.folder.identify(noted, logID{})
		l.folder.keepSpares(spares)
		l.committed.of(l)
		return l.begin(&header{}, 0)
	}
	number := numbers[len(numbers)-1]
	l.folder.log = noted.log
	floor, err := l.loadNewest(number, noted)
	if err != nil {
		return err
	}
	l.folder.number = max(l.folder.number, number)
	if err := l.loadChain(floor); err != nil {
		return err
	}
	if err := l.folder.settle(number, noted); err != nil {
		return err
	}
	l.writer.last = l.tail().last
	l.committed.take(l)
	l.hardState = l.writer.state
	l.cache.reset(l.writer.last + 1)
	for _, n := range numbers {
		if !slices.ContainsFunc(l.segments, func(s *segment) bool { return s.number == n }) {
			spares = append(spares, l.folder.segmentName(n))
		}
	}
	l.folder.keepSpares(spares)
	return nil
}

// loadNewest reads all of the newest segment, cuts a torn tail, and returns the oldest segment that is part of the log.
func (l *Log) loadNewest(number uint64, noted newest) (floor uint64, err error) {
	s, h, size, err := l.folder.open(number)
	if err != nil {
		return 0, err
	}
	l.segments = []*segment{s}
	l.folder.identify(noted, h.log)
	proven := int64(headerBytes) // a header is synced before there is a segment
	w := &l.writer
	w.segment, w.size, w.state, w.marked, floor = number, size, h.hardState, true, h.floor
	scan := &scanner{file: s.file, segment: number, offset: headerBytes, limit: size, chunk: readChunkBytes}
	for {
		r, offset := record{}, scan.offset
		if r, err = scan.next(); err != nil {
			break
		}
		w.marked, proven = r.kind == kindMark, max(proven, r.synced)
		switch r.kind {
		case kindHardState:
			if w.state, err = decodeHardState(r.data); err != nil {
				return 0, corruptAt(s.name, offset, err)
			}
		case kindFloor:
			floor = r.index
		case kindEntry:
			if err := s.replay(r, offset); err != nil {
				return 0, err
			}
		}
		s.end = scan.offset
	}
	if !errors.Is(err, errInvalid) {
		return 0, err
	}
	w.offset = s.end
	if err := l.committed.check(l, s); err != nil { // before anything is written: it may be what is left
		return 0, err
	}
	if err := l.cutTorn(s, size); err != nil {
		return 0, err
	}
	if err := s.rewrite(proven); err != nil {
		return 0, fmt.Errorf("wal: writing the end of %s anew: %w", s.name, err)
	}
	w.synced = w.offset
	return floor, nil
}

// rewrite makes the newest segment durable, of which no record says that it is beyond proven. What was read there may
// be only in the memory of the operating system; and if a former life ended with a sync that failed, the system has
// forgotten that it has to be written, and another sync would do nothing. So it is written once more, over itself.
func (s *segment) rewrite(proven int64) error {
	b := make([]byte, min(readChunkBytes, max(s.end-proven, 0)))
	for at := proven; at < s.end; {
		n, err := s.file.ReadAt(b[:min(int64(len(b)), s.end-at)], at)
		if n == 0 && err != nil {
			return err
		}
		if _, err := s.file.WriteAt(b[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return s.file.SyncData()
}

// replay takes note of an entry record read at offset.
func (s *segment) replay(r record, offset int64) error {
	if r.index <= s.prevIndex || r.index > s.last+1 {
		return s.corrupt(offset, "entry %d after %d", r.index, s.last)
	}
	if r.index <= s.last {
		s.end = offset
		reach, err := s.reachBefore(r.index)
		if err != nil {
			return err
		}
		s.cutFrom(r.index, reach)
	}
	s.add(r.index, r.term, r.entryType, r.data, offset)
	return nil
}

// cutTorn looks at what is behind the last valid record of the newest segment. A record there that was written when
// more than that was durable proves damage. Otherwise it is what a crash left of an append that never returned: it is
// overwritten with zeros, so that it cannot come back behind new records.
func (l *Log) cutTorn(s *segment, size int64) error {
	end := s.end
	remains, err := findRecords(
		&scanner{file: s.file, segment: s.number, offset: end, limit: size, chunk: readChunkBytes})
	if err != nil {
		return err
	}
	if remains.synced > end {
		return s.corrupt(end, "record damaged; a later one at %d says that everything before %d was durable",
			remains.last, remains.synced)
	}
	if remains.end <= end {
		return nil
	}
	l.options.Logger.Warn("cut the torn tail that a crash left", "segment", s.name, "offset", end,
		"bytes", remains.end-end, "lastIndex", s.last)
	for at := end; at < remains.end; {
		n, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), remains.end-at)], at)
		if err != nil {
			return fmt.Errorf("wal: cut torn tail of %s: %w", s.name, err)
		}
		at += int64(n)
	}
	l.writer.size = max(l.writer.size, remains.end)
	return nil
}

// remains is what was found behind the last valid record of a segment.
type remains struct {
	last   int64 // where the last record begins
	end    int64 // where the furthest record ends, or would end
	synced int64 // the highest offset that a record says was durable
}

// findRecords finds all headers of records from the scanner's offset on, whatever lies between them.
func findRecords(scan *scanner) (found remains, err error) {
	for ; ; scan.skip(recordAlignment) {
		switch err := scan.fill(recordHeaderBytes); {
		case errors.Is(err, errInvalid):
			return found, nil
		case err != nil:
			return found, err
		}
		if zero := scan.zeros(); zero > 0 {
			scan.skip(zero - recordHeaderBytes)
			continue
		}
		r, dataBytes, _, ok := decodeRecordHeader(scan.buffer, scan.segment, scan.offset)
		if ok {
			found.last = scan.offset
			found.end = max(found.end, min(scan.offset+recordBytes(dataBytes), scan.limit))
			found.synced = max(found.synced, r.synced)
		}
	}
}

// zeros returns how many whole pages of zeros the buffer begins with, in bytes.
func (s *scanner) zeros() (n int64) {
	const page = 4 << 10
	for b := s.buffer; len(b) >= page && bytes.Equal(b[:page], zeros[:page]); b = b[page:] {
		n += page
	}
	return n
}

// loadChain opens the segments before the newest, back to the floor, and links them up.
func (l *Log) loadChain(floor uint64) error {
	for s := l.segments[0]; s.number != floor; s = l.segments[0] {
		if s.follows < floor {
			return corruptAt(s.name, 0,
				fmt.Errorf("it follows segment %d, but the log begins with segment %d", s.follows, floor))
		}
		if _, err := l.options.FS.Stat(l.folder.segmentName(s.follows)); errors.Is(err, fs.ErrNotExist) {
			return corruptAt(l.folder.segmentName(s.follows), 0,
				fmt.Errorf("segment is missing, and %s continues it: %w", filepath.Base(s.name), err))
		} else if err != nil {
			return fmt.Errorf("wal: look for segment %d: %w", s.follows, err)
		}
		before, _, size, err := l.folder.open(s.follows)
		if err != nil {
			return err
		}
		l.segments = append([]*segment{before}, l.segments...)
		if err := l.loadSealed(before, int64(s.sealed), size); err != nil {
			return err
		}
	}
	for i, s := range l.segments[1:] {
		before := l.segments[i]
		if s.prevIndex > before.last || s.prevIndex < before.prevIndex {
			return s.corrupt(0, "it continues entry %d, but %s holds %d to %d", s.prevIndex, before.name,
				before.prevIndex+1, before.last)
		}
		if s.prevIndex < before.last {
			reach, err := before.reachBefore(s.prevIndex + 1)
			if err != nil {
				return err
			}
			before.cutFrom(s.prevIndex+1, reach)
		}
		if term := before.term(s.prevIndex); term != s.prevTerm {
			return s.corrupt(0, "it continues entry %d of term %d, but %s holds it with term %d", s.prevIndex,
				s.prevTerm, before.name, term)
		}
	}
	return nil
}

// loadSealed reads the index of a sealed segment, whose entries end where the index begins. If the index is damaged,
// every record is read instead.
func (l *Log) loadSealed(s *segment, sealed, size int64) error {
	if sealed < headerBytes || sealed > size {
		return s.corrupt(0, "it should be sealed at offset %d and has %d bytes", sealed, size)
	}
	s.end = sealed
	scan := &scanner{file: s.file, segment: s.number, offset: sealed, limit: size, chunk: minChunkBytes}
	r, err := scan.next()
	if err == nil && r.kind == kindIndex {
		if err = s.decodeIndex(r); err == nil {
			return nil
		}
	} else if err != nil && !errors.Is(err, errInvalid) {
		return err
	}
	l.options.Logger.Warn("index of a sealed segment is damaged; reading the whole segment", "segment", s.name,
		"offset", sealed, "err", err)
	scan = &scanner{file: s.file, segment: s.number, offset: headerBytes, limit: sealed, chunk: readChunkBytes}
	for scan.offset < sealed {
		offset := scan.offset
		r, err := scan.next()
		if errors.Is(err, errInvalid) {
			return corruptAt(s.name, offset, err)
		} else if err != nil {
			return err
		}
		if r.kind == kindEntry {
			if err := s.replay(r, offset); err != nil {
				return err
			}
		}
	}
	s.end = sealed
	return nil
}
