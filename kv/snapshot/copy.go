package snapshot

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Copy is a checkpoint that goes out as an archive. It is used by one goroutine.
type Copy struct {
	fs   vfs.FS
	dir  string
	note []byte
	rots func(error)
	drop func(dir string)
}

// NewCopy returns the copy that is the checkpoint in dir, which becomes its own. rots is told if a table in it is not
// what was written; it may be nil. drop removes it in the end, and sees to it if that cannot be done at once.
func NewCopy(fs vfs.FS, dir string, rots func(error), drop func(dir string)) *Copy {
	return &Copy{fs: fs, dir: dir, rots: rots, drop: drop}
}

// Note has the archive begin with a note, see Write.
func (c *Copy) Note(note []byte) { c.note = note }

// WriteTo writes the archive to w, and returns how many bytes went there. The error is mvcc.ErrCorrupt if a table is
// not what was written: what went to w is no archive then.
func (c *Copy) WriteTo(w io.Writer) (int64, error) {
	counted := countingWriter{to: w}
	err := Write(&counted, c.fs, c.dir, c.note)
	if errors.Is(err, mvcc.ErrCorrupt) && c.rots != nil {
		c.rots(err)
	}
	return counted.bytes, err
}

// Close drops the checkpoint. What was written out is none the worse if it cannot be removed yet: there is no error.
func (c *Copy) Close() error {
	c.drop(c.dir)
	return nil
}

type countingWriter struct {
	to    io.Writer
	bytes int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}
