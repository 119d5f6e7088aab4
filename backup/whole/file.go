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

// ErrNotDurable says of a file that it is there, whole, and that a power cut may take it away.
var ErrNotDurable = errors.New("not known to be durable")

// syncDir is durable.OS.SyncDir, but in tests of what it fails for.
var syncDir = durable.OS.SyncDir

// File is one that is made. It is used by one goroutine.
type File struct {
	*os.File
	path  string
	ended bool
	named bool // it has its name
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

// Publish gives a file that is finished its own name. An error that is ErrNotDurable says that it has it, but that a
// power cut may take it away again.
func (f *File) Publish() error {
	err := os.Link(f.Name(), f.path) // which replaces nothing
	switch {
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%s: %w", f.path, os.ErrExist)
	case err == nil:
		os.Remove(f.Name()) // or Abandon does
	default: // a filesystem without links
		if _, there := os.Lstat(f.path); there == nil {
			return fmt.Errorf("%s: %w", f.path, os.ErrExist)
		}
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return err
	}
	f.named = true
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("%s is there, but %w: %w", f.path, ErrNotDurable, err)
	}
	return nil
}

// Abandon removes a file that was not published. Of one that was nothing is wrong if its other name stays.
func (f *File) Abandon() error {
	var err error
	if !f.ended {
		err = f.Close()
	}
	if gone := os.Remove(f.Name()); !f.named && !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
