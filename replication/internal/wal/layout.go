package wal

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mimir-kv/mimir/replication/durable"
)

const (
	segmentSuffix = ".wal"
	spareSuffix   = ".spare"
)

func (l *Log) segmentName(number uint64) string {
	return filepath.Join(l.options.Dir, fmt.Sprintf("%020d%s", number, segmentSuffix))
}

// parseName returns the number in the name of a segment or spare file.
func parseName(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// begin makes a new newest segment that continues the first keep segments after entry h.prevIndex; the other segments are dropped. When
// it returns, all that is durable.
func (l *Log) begin(h *header, keep int) error {
	w := &l.writer
	h.segment = w.number + 1
	h.floor = h.segment
	if keep > 0 {
		before := l.segments[keep-1]
		h.follows, h.sealed, h.floor = before.number, uint64(before.end), l.segments[0].number
	}
	name := l.segmentName(h.segment)
	file, size, err := l.create(h, name)
	if err != nil {
		return err
	}
	w.number, w.offset, w.size, w.synced, w.dirty, w.marked, w.last = h.segment, headerBytes, size, headerBytes, false, true, h.prevIndex

	l.mu.Lock()
	dropped := append([]*segment(nil), l.segments[keep:]...)
	l.segments = append(l.segments[:keep:keep], newSegment(h, name, file))
	if keep == 0 {
		l.cache.reset(h.prevIndex + 1)
	} else {
		if before := l.segments[keep-1]; before.last > h.prevIndex {
			reach := h.reach
			if reach == unknownReach {
				reach = 0
			}
			before.cutFrom(h.prevIndex+1, reach)
		}
		l.cache.cutFrom(h.prevIndex + 1)
	}
	l.hardState = w.state
	l.mu.Unlock()
	l.release(dropped)
	return nil
}

// create makes the file of a segment, from a spare one if there is any. The header is durable before the file gets its name, so that a
// file with the name of a segment always is one.
func (l *Log) create(h *header, name string) (file durable.File, size int64, err error) {
	fs := l.options.FS
	fresh := strings.TrimSuffix(name, segmentSuffix) + spareSuffix
	if n := len(l.writer.spares); n > 0 {
		fresh = l.writer.spares[n-1]
		l.writer.spares = l.writer.spares[:n-1]
	}
	if err := writeHeader(fs, fresh, h); err != nil {
		return nil, 0, err
	}
	if err := fs.Rename(fresh, name); err != nil {
		return nil, 0, err
	}
	if err := fs.SyncDir(l.options.Dir); err != nil {
		return nil, 0, err
	}
	return openSegment(fs, name)
}

func writeHeader(fs durable.FS, name string, h *header) error {
	file, err := fs.OpenReadWrite(name)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt(h.encode(), 0); err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

func openSegment(fs durable.FS, name string) (durable.File, int64, error) {
	file, err := fs.OpenReadWrite(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := fs.Stat(name)
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// release lets go of segments that are durably no longer part of the log: some are kept for reuse, the others removed.
func (l *Log) release(segments []*segment) {
	fs := l.options.FS
	for _, s := range segments {
		if len(l.writer.spares) >= l.options.SpareSegments {
			s.retire(fateRemove, fs)
			continue
		}
		spare := strings.TrimSuffix(s.name, segmentSuffix) + spareSuffix
		if s.recycle(fs, spare) {
			l.writer.spares = append(l.writer.spares, spare)
		}
	}
}
