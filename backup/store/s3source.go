package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// errSource marks an error of the reader that was to be put.
var errSource = errors.New("read what is to be put")

// source is something of known size and SHA-256 that is read from its beginning.
type source struct {
	io.Reader
	size   int64
	digest string // hex
	again  hash.Hash
	close  func() error
}

// measure reads all of r, and returns it to be read once more: from where it lies, if that can be sought in, else from
// memory, or from a file.
func (b *bucket) measure(ctx context.Context, r io.Reader) (*source, error) {
	s := &source{again: sha256.New(), close: func() error { return nil }}
	sum := sha256.New()
	var err error
	if place, ok := r.(io.ReadSeeker); ok {
		err = s.seek(ctx, place, sum)
	} else {
		err = s.keep(ctx, r, sum, b.temp)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errSource, err), s.close())
	}
	s.digest = hex.EncodeToString(sum.Sum(nil))
	return s, nil
}

func (s *source) seek(ctx context.Context, r io.ReadSeeker, sum hash.Hash) (err error) {
	begin, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if s.size, err = io.Copy(sum, whileLive{ctx, r}); err != nil {
		return err
	}
	_, err = r.Seek(begin, io.SeekStart)
	s.Reader = r
	return err
}

func (s *source) keep(ctx context.Context, r io.Reader, sum hash.Hash, dir string) error {
	var small bytes.Buffer
	from := io.TeeReader(whileLive{ctx, r}, sum)
	var err error
	if s.size, err = io.CopyN(&small, from, partBytes+1); errors.Is(err, io.EOF) {
		s.Reader = &small
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "mimir-put-")
	if err != nil {
		return err
	}
	s.close = func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }
	if s.size, err = io.Copy(f, io.MultiReader(&small, from)); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	s.Reader = f
	return err
}

// next fills p.
func (s *source) next(p []byte) error {
	if _, err := io.ReadFull(s.Reader, p); err != nil {
		return fmt.Errorf("%w: %w", errSource, err)
	}
	s.again.Write(p)
	return nil
}

// same tells whether what was read is what was measured.
func (s *source) same() error {
	if hex.EncodeToString(s.again.Sum(nil)) != s.digest {
		return fmt.Errorf("%w: it changed meanwhile", errSource)
	}
	return nil
}
