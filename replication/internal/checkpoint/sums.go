package checkpoint

import (
	"context"
	"io/fs"
	"os"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
)

// settled is how much older a file has to be than the newest one beside it, to be known again by when it was written: a
// file that takes its place later is younger then, on any filesystem.
const settled = 10 * time.Second

// Sums are the sums of the files that were described last. Files of a checkpoint never change, and the next one of the
// same state has most of them again, as hard links: they are not read a second time. A file is the one that was summed
// only if its name, its length and when it was written say so, and the system that it is that very file; else it is
// read. Of a filesystem that cannot tell, as one that encrypts, all are read each time. What a disk changes later shows
// where the file is received: it is not what its sum says.
//
// Sums know no more files than one checkpoint has. The zero value knows nothing. One goroutine at a time uses them.
type Sums struct {
	// Look is at each file that is summed, and at the whole before. What it finds is an error: nothing is described.
	Look  Look
	known map[string]summed // by name
}

// Forget forgets all sums: a disk may have changed what is known.
func (s *Sums) Forget() { s.known = nil }

// summed is a file with how to know it again.
type summed struct {
	file File
	info fs.FileInfo
}

// Describe is [Describe], and does not read what was described before. through is told of it nevertheless.
func (s *Sums) Describe(
	ctx context.Context, fs durable.FS, dir string, id [16]byte, meta []byte, through func(bytes int64),
) (*Manifest, error) {
	return describe(ctx, fs, dir, id, meta, through, s)
}

// look looks at a file that was summed just now.
func (s *Sums) look(dir, name string) error {
	if s == nil {
		return nil
	}
	return s.Look.file(dir, name)
}

// has returns what is known of the file name, of which info tells. It may be asked of nil, which knows nothing.
func (s *Sums) has(name string, info fs.FileInfo) (f File, known bool) {
	if s == nil {
		return f, false
	}
	k, known := s.known[name]
	if !known || k.file.Bytes != info.Size() || !k.info.ModTime().Equal(info.ModTime()) || !os.SameFile(k.info, info) {
		return f, false
	}
	return k.file, true
}

// keep forgets all but these files, which have been summed, and of these those that are too young to be known again.
func (s *Sums) keep(all []summed) {
	if s == nil {
		return
	}
	var newest time.Time
	for i := range all {
		if at := all[i].info.ModTime(); at.After(newest) {
			newest = at
		}
	}
	s.known = make(map[string]summed, len(all))
	for _, k := range all {
		if newest.Sub(k.info.ModTime()) >= settled && k.info.Size() == k.file.Bytes {
			s.known[k.file.Name] = k
		}
	}
}
