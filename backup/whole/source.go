package whole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNoFile says that there is something else than a file under a name.
var ErrNoFile = errors.New("it is no regular file")

// Source is a file that is read. It is used by one goroutine.
type Source struct {
	Bytes int64
	file  *os.File // not embedded: what it can do beside reading does not end with ctx
	ctx   context.Context
	err   error
}

// Open opens a file that is read until ctx ends. The caller closes it. The error is ErrNoFile, or one of the
// filesystem.
func Open(ctx context.Context, path string) (*Source, error) {
	info, err := os.Stat(path) // before: to open a pipe waits for who writes to it
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, ErrNoFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Source{Bytes: info.Size(), file: f, ctx: ctx}, nil
}

// Close closes the file.
func (s *Source) Close() error { return s.file.Close() }

// Read implements io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.file.Read(p)
	return n, s.noted(err)
}

// ReadAt implements io.ReaderAt.
func (s *Source) ReadAt(p []byte, at int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.file.ReadAt(p, at)
	return n, s.noted(err)
}

func (s *Source) noted(err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return err
}

// Told returns what to say of an error that came of reading s: what kept it from being read, or else err.
func (s *Source) Told(err error) error {
	if err != nil && s.err != nil {
		return s.err
	}
	return err
}

// Outside reports whether an error is of the disk, or of who waits no more, and says nothing of the content. That
// something is not there can be said by a content that names it.
func Outside(err error) bool {
	var errno syscall.Errno
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &errno) && !errors.Is(errno, fs.ErrNotExist)
}
