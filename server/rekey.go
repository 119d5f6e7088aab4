package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// rekey takes the keys that are in their file now, while the node runs: what it makes from then on is under the first.
// With keys that cannot be used all stay as they are.
func (d *disk) rekey(file string, logger *slog.Logger) {
	if d.fs == nil {
		return
	}
	before := d.active()
	next, err := readKeys(file)
	if err == nil {
		err = settleKeys(file)
	}
	if err == nil {
		err = d.fs.Change(next)
	}
	switch now := d.active(); {
	case errors.Is(err, fs.ErrNotExist):
		logger.Warn("encryption-key-file is not there: the keys stay as they were", "file", file)
	case err != nil:
		logger.Error("encryption-key-file not read anew: the keys stay as they were", "err", err)
	case now != before:
		logger.Info("new files are under another key now", "key", now, "before", before)
	}
}

// settleKeys makes durable what the file has now, and its name, before files are made that nobody can read without it:
// whoever wrote it may have left it to the operating system. Where there is nothing to sync, as of a pipe or on a
// system that wants the right to write for it, it does nothing.
func settleKeys(file string) error {
	for _, name := range []string{file, filepath.Dir(file)} {
		info, err := os.Stat(name)
		if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			continue // to open a pipe would wait for who writes
		}
		var f *os.File
		if err == nil {
			f, err = os.Open(name)
		}
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) &&
			!errors.Is(err, syscall.EROFS) && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("sync %s: %w", name, err)
		}
	}
	return nil
}
