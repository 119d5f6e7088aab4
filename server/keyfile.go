package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// readKeys reads the file of keys, for who makes nothing that needs them.
func readKeys(file string) (atrest.Keys, error) {
	return keysIn(durable.OS, file, func(durable.File) error { return nil })
}

// settledKeys reads the file of keys, and returns them once they are durable: before anything is made that nobody can
// read without them. Whoever wrote the file may have left it to the operating system.
func settledKeys(fsys durable.FS, file string) (atrest.Keys, error) {
	return keysIn(fsys, file, func(f durable.File) error { return settleKeys(fsys, file, f) })
}

// keysIn reads the file of keys, and does something with the file that it read, whichever has the name by then. Where a
// link that leads to it was turned to another directory meanwhile, and the one before is gone (so Kubernetes changes
// what it mounts), it reads what is there now.
func keysIn(fsys durable.FS, file string, do func(durable.File) error) (atrest.Keys, error) {
	keys, err := keysNow(fsys, file, do)
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = keysNow(fsys, file, do)
	}
	return keys, err
}

func keysNow(fsys durable.FS, file string, do func(durable.File) error) (atrest.Keys, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return atrest.Keys{}, fmt.Errorf("%w: encryption-key-file: %w", ErrConfig, err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return atrest.Keys{}, fmt.Errorf("%w: encryption-key-file: %w", ErrConfig, err)
	}
	keys, err := atrest.ParseKeys(text)
	if err != nil {
		return keys, fmt.Errorf("%w: encryption-key-file %s: %w", ErrConfig, file, err)
	}
	if err := do(f); err != nil {
		return atrest.Keys{}, fmt.Errorf("%w: encryption-key-file %s may not survive a power cut, and without it "+
			"nobody reads what would be written: %w", ErrConfig, file, err)
	}
	return keys, nil
}

// settleKeys makes f durable, and the names by which it is found: its own, and that of a link that leads to it.
func settleKeys(fsys durable.FS, file string, f durable.File) error {
	if err := f.Sync(); !synced(err) {
		return fmt.Errorf("sync: %w", err)
	}
	dirs := []string{filepath.Dir(file)}
	if target, err := filepath.EvalSymlinks(file); err == nil && filepath.Dir(target) != dirs[0] {
		dirs = append(dirs, filepath.Dir(target))
	}
	for _, dir := range dirs {
		if err := fsys.SyncDir(dir); !synced(err) {
			return fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return nil
}

// synced reports whether a sync left nothing to be done that can be: a pipe has nothing to sync, nor what is mounted
// for reading; some systems want the right to write for it, and who may not read a directory has a file there that
// somebody else has made.
func synced(err error) bool {
	return err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) ||
		errors.Is(err, syscall.EROFS) || errors.Is(err, errors.ErrUnsupported)
}
