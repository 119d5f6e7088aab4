package snapshot

import (
	"cmp"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// Link makes the new directory to hold what from holds: tables, which never change, as links and the rest as copies.
func Link(fs vfs.FS, from, to string) error {
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	if err := fs.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		source, target := fs.PathJoin(from, name), fs.PathJoin(to, name)
		info, err := fs.Stat(source)
		switch {
		case err != nil:
		case info.IsDir():
			err = Link(fs, source, target)
		case strings.HasSuffix(name, ".sst"):
			err = vfs.LinkOrCopy(fs, source, target)
		default:
			err = vfs.Copy(fs, source, target)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
		return pebblefs.New(fs).SyncDir(path)
	}
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	return cmp.Or(f.Sync(), f.Close())
}
