// Package pebblefs makes a filesystem of Pebble's one of this library's, for a program that hands one filesystem to
// Pebble and to the library, and for tests: Pebble has one in memory that forgets at a power cut what was not synced.
//
// It promises what durable.FS says, as far as the filesystem below does. It is a package of its own so that the library
// does not link Pebble.
package pebblefs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
)

// New returns below as a filesystem of this library. The two show the same files.
func New(below vfs.FS) durable.FS { return adapter{below} }

type adapter struct{ below vfs.FS }

func (a adapter) Create(name string) (durable.File, error) {
	return opened(a.below.Create(name, vfs.WriteCategoryUnspecified))
}

func (a adapter) Open(name string) (durable.File, error) {
	return opened(a.below.Open(name, vfs.SequentialReadsOption))
}

func (a adapter) OpenReadWrite(name string) (durable.File, error) {
	return opened(a.below.OpenReadWrite(name, vfs.WriteCategoryUnspecified))
}

func (a adapter) Remove(name string) error          { return a.below.Remove(name) }
func (a adapter) Rename(from, to string) error      { return a.below.Rename(from, to) }
func (a adapter) MkdirAll(dir string) error         { return a.below.MkdirAll(dir, 0o700) }
func (a adapter) List(dir string) ([]string, error) { return a.below.List(dir) }

// RemoveAll implements durable.FS. Some of Pebble's filesystems complain about what is missing.
func (a adapter) RemoveAll(name string) error {
	if err := a.below.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Lock implements durable.FS. Pebble does not say why a lock is not to be had.
func (a adapter) Lock(name string) (io.Closer, error) {
	held, err := a.below.Lock(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", durable.ErrLocked, name, err)
	}
	return held, nil
}

func (a adapter) SyncDir(dir string) error {
	d, err := a.below.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (a adapter) Stat(name string) (fs.FileInfo, error) {
	info, err := a.below.Stat(name)
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (a adapter) FreeBytes(name string) (uint64, error) {
	usage, err := a.below.GetDiskUsage(name)
	return usage.AvailBytes, err
}

// opened passes on what Pebble opened: its files have all methods that the library's need.
func opened(f vfs.File, err error) (durable.File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}
