package space

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// ballastName is the file of nothing in the data directory.
const ballastName = "ballast"

// Ballast is a file of Bytes bytes that takes room on a disk, to be given up. It is used by one goroutine at a time.
type Ballast struct {
	Dir   string
	Bytes int64
}

func (b *Ballast) path() string { return filepath.Join(b.Dir, ballastName) }

// Settle gives the ballast up if less than its size is free, and makes it where there is room for it beside reserve.
func (b *Ballast) Settle(free, reserve int64, logger *slog.Logger) error {
	if b.Bytes <= 0 {
		return nil
	}
	info, err := os.Stat(b.path())
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case there && free < b.Bytes:
		logger.Warn("the disk is nearly full: the ballast is given up", "free", free, "ballast", info.Size())
		return os.Remove(b.path())
	case !there && free > reserve+2*b.Bytes:
		return b.make()
	}
	return nil
}

// make writes the ballast under its name only when it is whole: one that is cut short would be taken for it.
func (b *Ballast) make() error {
	temporary := b.path() + ".tmp"
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	if err := errors.Join(allocate(f, b.Bytes), f.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, b.path())
}

// writeZeros takes room by writing.
func writeZeros(f *os.File, bytes int64) error {
	zeros := make([]byte, 1<<20)
	for bytes > 0 {
		n, err := f.Write(zeros[:min(bytes, int64(len(zeros)))])
		if err != nil {
			return err
		}
		bytes -= int64(n)
	}
	return nil
}
