package snapshot

import (
	"cmp"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// Link makes the new directory to hold what from holds: tables, which never change, as links and the rest as copies.
// It returns what has to be made durable of it, in order: copies and directories. A link is as durable as what it links
// to, and there are many.
func Link(fs vfs.FS, from, to string) (fresh []string, err error) {
	names, err := fs.List(from)
	if err != nil {
		return nil, err
	}
	if err := fs.MkdirAll(to, 0o700); err != nil {
		return nil, err
	}
	for _, name := range names {
		source, target := fs.PathJoin(from, name), fs.PathJoin(to, name)
		info, err := fs.Stat(source)
		switch {
		case err != nil:
		case info.IsDir():
			var below []string
			below, err = Link(fs, source, target)
			fresh = append(fresh, below...)
		case strings.HasSuffix(name, tableSuffix) && fs.Link(source, target) == nil:
		default:
			fresh = append(fresh, target)
			err = vfs.Copy(fs, source, target)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(fresh, to), nil
}

// SyncAll makes files, or the names in directories, durable.
func SyncAll(fs vfs.FS, paths []string) error {
	for _, path := range paths {
		if err := syncOne(fs, path); err != nil {
			return err
		}
	}
	return nil
}

func syncOne(fs vfs.FS, path string) error {
	info, err := fs.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return pebblefs.New(fs).SyncDir(path)
	}
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	return cmp.Or(f.Sync(), f.Close())
}

// Sync makes everything under path durable, path itself included.
func Sync(fs vfs.FS, path string) error {
	info, err := fs.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		names, err := fs.List(path)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := Sync(fs, fs.PathJoin(path, name)); err != nil {
				return err
			}
		}
	}
	return syncOne(fs, path)
}
