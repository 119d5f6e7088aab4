package whole

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/durable"
)

// partSuffix is what the name of a file ends with as long as it is not whole.
const partSuffix = ".part"

// File is one that is made. It is used by one goroutine.
type File struct {
	*os.File
	path  string
	ended bool
}

// Create begins a file that is to be path: beside it, under a name that nobody else has, readable for its owner alone.
// The error is os.ErrExist if there is something under the name. The caller calls Abandon in the end, in any case.
func Create(path string) (*File, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+partSuffix)
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: path}, nil
}

// Finish makes what was written durable. Nothing is written afterwards; the file is found under Name.
func (f *File) Finish() error {
	f.ended = true
	return errors.Join(f.Sync(), f.Close())
}

// Publish gives a file that is finished its own name.
func (f *File) Publish() error {
	err := os.Link(f.Name(), f.path) // which replaces nothing
	switch {
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%s: %w", f.path, os.ErrExist)
	case err == nil:
		err = os.Remove(f.Name())
	default: // a filesystem without links
		if _, there := os.Lstat(f.path); there == nil {
			return fmt.Errorf("%s: %w", f.path, os.ErrExist)
		}
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return err
	}
	return durable.OS.SyncDir(filepath.Dir(f.path))
}

// Abandon removes a file that was not published, and does nothing to one that was.
func (f *File) Abandon() error {
	var err error
	if !f.ended {
		err = f.Close()
	}
	if gone := os.Remove(f.Name()); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
