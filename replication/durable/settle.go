package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Settle makes durable what a former process may have left in the memory of the operating system alone: the names in
// dir and below it, and that of dir itself. It ended, or its disk failed, between giving a name and syncing it: the
// name is there, and is taken for what it says, and the next power cut takes it away. Who goes on with a directory
// calls it before trusting anything there. It is no error if dir is missing.
func Settle(fsys FS, dir string) error {
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := settle(fsys, dir); err != nil {
		return fmt.Errorf("settle the names in %s: %w", dir, err)
	}
	// Who may enter a directory may be forbidden to read the one above: then somebody else has made it.
	if err := fsys.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("settle the name of %s: %w", dir, err)
	}
	return nil
}

// settle syncs dir, and then the directories in it: a name that is durable in one that is not is of no use.
func settle(fsys FS, dir string) error {
	switch err := fsys.SyncDir(dir); {
	case errors.Is(err, fs.ErrPermission): // who may not read it does not trust what is there; who needs it tells
		return nil
	case err != nil:
		return err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		if err != nil || !info.IsDir() {
			continue // what cannot be looked at is told by who needs it
		}
		if err := settle(fsys, path); err != nil {
			return err
		}
	}
	return nil
}
