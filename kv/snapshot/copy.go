package snapshot

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Copy is a checkpoint that goes out as an archive. It is used by one goroutine.
type Copy struct {
	fs   vfs.FS
	dir  string
	note []byte
}

// NewCopy returns the copy that is the checkpoint in dir, which becomes its own.
func NewCopy(fs vfs.FS, dir string) *Copy { return &Copy{fs: fs, dir: dir} }

// Note has the archive begin with a note, see Write.
func (c *Copy) Note(note []byte) { c.note = note }

// WriteTo writes the archive to w, and returns how many bytes went there.
func (c *Copy) WriteTo(w io.Writer) (int64, error) {
	counted := countingWriter{to: w}
	err := Write(&counted, c.fs, c.dir, c.note)
	return counted.bytes, err
}

// Close removes the checkpoint.
func (c *Copy) Close() error { return c.fs.RemoveAll(c.dir) }

type countingWriter struct {
	to    io.Writer
	bytes int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}
