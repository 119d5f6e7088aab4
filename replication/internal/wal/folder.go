package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mimir-kv/mimir/replication/durable"
)

const (
	segmentSuffix = ".wal"
	spareSuffix   = ".spare"
)

// folder is the directory of a log: what its files are called, and which of them are spare. It is not safe for
// concurrent use.
type folder struct {
	fs     durable.FS
	dir    string
	most   int      // spares kept for reuse
	spares []string // files ready for reuse
	number uint64   // of the newest file ever made
	log    logID    // zero until it is known
}

func (f *folder) segmentName(number uint64) string {
	return filepath.Join(f.dir, fmt.Sprintf("%020d%s", number, segmentSuffix))
}

// free returns how much can still be written; ok is false if nobody can tell.
func (f *folder) free() (bytes uint64, ok bool) {
	bytes, err := f.fs.FreeBytes(f.dir)
	return bytes, err == nil
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

// create makes the file of a segment, from a spare one if there is any. The header is durable before the file gets its
// name, so that a file with the name of a segment always is one.
func (f *folder) create(h *header, name string) (file durable.File, size int64, err error) {
	fresh := strings.TrimSuffix(name, segmentSuffix) + spareSuffix
	if n := len(f.spares); n > 0 {
		fresh = f.spares[n-1]
	}
	if err := writeHeader(f.fs, fresh, h); err != nil {
		return nil, 0, err
	}
	if err := f.fs.Rename(fresh, name); err != nil {
		return nil, 0, err
	}
	f.spares = f.spares[:max(len(f.spares)-1, 0)]
	if err := f.fs.SyncDir(f.dir); err != nil {
		return nil, 0, err
	}
	return openSegment(f.fs, name)
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
func (f *folder) release(segments []*segment) {
	for _, s := range segments {
		if len(f.spares) >= f.most {
			s.retire(fateRemove, f.fs)
			continue
		}
		spare := strings.TrimSuffix(s.name, segmentSuffix) + spareSuffix
		if s.recycle(f.fs, spare) {
			f.spares = append(f.spares, spare)
		}
	}
}

// keepSpares keeps files that are not part of the log for reuse, as many as wanted, and removes the others. Nothing
// depends on its success.
func (f *folder) keepSpares(names []string) {
	for _, name := range names {
		if len(f.spares) >= f.most {
			_ = f.fs.Remove(name)
			continue
		}
		spare := strings.TrimSuffix(strings.TrimSuffix(name, segmentSuffix), spareSuffix) + spareSuffix
		if slices.Contains(f.spares, spare) {
			_ = f.fs.Remove(name)
		} else if name == spare || f.fs.Rename(name, spare) == nil {
			f.spares = append(f.spares, spare)
		}
	}
}

// open opens a segment and reads its header.
func (f *folder) open(number uint64) (*segment, *header, int64, error) {
	name := f.segmentName(number)
	file, size, err := openSegment(f.fs, name)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("wal: open segment: %w", err)
	}
	h, err := f.readHeader(file, name, number)
	if err != nil {
		_ = file.Close()
		return nil, nil, 0, err
	}
	return newSegment(h, name, file), h, size, nil
}

// readHeader reads the header of a segment of this log.
func (f *folder) readHeader(file durable.File, name string, number uint64) (*header, error) {
	b := make([]byte, headerBytes)
	if _, err := file.ReadAt(b, 0); errors.Is(err, io.EOF) {
		return nil, corruptAt(name, 0, errors.New("segment is cut short: it had its header before it had its name"))
	} else if err != nil {
		return nil, fmt.Errorf("wal: read %s: %w", name, err)
	}
	h, err := decodeHeader(b, number)
	switch {
	case errors.Is(err, ErrVersion):
		return nil, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return nil, corruptAt(name, 0, err)
	}
	return h, f.checkOwn(name, h.log)
}
