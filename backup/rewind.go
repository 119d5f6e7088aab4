package backup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
)

// Write writes a file to w: an archive, and what belongs behind it.
func Write(w io.Writer, archive io.WriterTo) error {
	sum := sha256.New()
	n, err := archive.WriteTo(io.MultiWriter(w, sum))
	if err != nil {
		return err
	}
	if over := n % blockBytes; over != 0 {
		zeros := make([]byte, blockBytes-over)
		sum.Write(zeros)
		if _, err := w.Write(zeros); err != nil {
			return err
		}
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// Fits reports whether a whole file can have so many bytes.
func Fits(bytes int64) bool { return bytes > sha256.Size && bytes%blockBytes == sha256.Size }

// Rewind reads what write writes, without keeping it: to go back to the beginning is to have it written once more. It
// is used by one goroutine, and has to be closed, which waits until nobody writes any more.
type Rewind struct {
	ctx   context.Context
	write func(io.Writer) error
	pipe  *io.PipeReader // nil at the beginning
	ended chan struct{}
	at    int64
}

// NewRewind returns a reader of what write writes, each time the same, until ctx ends.
func NewRewind(ctx context.Context, write func(io.Writer) error) *Rewind {
	return &Rewind{ctx: ctx, write: write}
}

// Read implements io.Reader. The error is that of the writer, if it has one.
func (r *Rewind) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	if r.pipe == nil {
		from, to := io.Pipe()
		r.pipe, r.ended = from, make(chan struct{})
		go func(ended chan struct{}) {
			defer close(ended)
			to.CloseWithError(r.write(to))
		}(r.ended)
	}
	n, err := r.pipe.Read(p)
	r.at += int64(n)
	return n, err
}

// Seek implements io.Seeker, for where it is and the beginning.
func (r *Rewind) Seek(offset int64, whence int) (int64, error) {
	switch {
	case whence == io.SeekCurrent && offset == 0, whence == io.SeekStart && offset == r.at:
		return r.at, nil
	case whence == io.SeekStart && offset == 0:
		return 0, r.Close()
	default:
		return 0, fmt.Errorf("seek to %d from %d: only the beginning can be gone back to", offset, whence)
	}
}

// Close implements io.Closer. What is read afterwards is the beginning.
func (r *Rewind) Close() error {
	if r.pipe == nil {
		return nil
	}
	err := r.pipe.Close()
	<-r.ended
	r.pipe, r.at = nil, 0
	return err
}
