// Package durable makes files and directories that survive a power cut once they are made: what is written is synced, and so is every
// directory that gained a name.
//
// It leaves to its neighbours what the files mean. It is safe for concurrent use on different paths.
package durable

import (
	"bufio"
	"errors"
	"io"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// MakeDir makes dir and every directory above it that is missing.
func MakeDir(fs vfs.FS, dir string) error {
	_, err := fs.Stat(dir)
	if err == nil || !oserror.IsNotExist(err) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := MakeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return SyncDir(fs, parent)
}

// SyncDir makes the names in dir durable.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// WriteFile makes path hold what fill writes, replacing a former file at once. On an error the former file is still there.
func WriteFile(fs vfs.FS, path string, fill func(io.Writer) error) error {
	temporary := path + ".tmp"
	f, err := fs.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	if err = fill(b); err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(temporary, path); err != nil {
		return err
	}
	return SyncDir(fs, fs.PathDir(path))
}

// ReadFile returns the content of path.
func ReadFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
