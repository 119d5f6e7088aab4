package kv

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// watched is the filesystem of a database: its directory, and those of its checkpoints, cannot fail to be synced, at
// which Pebble panics wherever it is, and what finds no room is noted.
type watched struct {
	vfs.FS
	failures *failures
}

// markers begin the names of the files by which Pebble says which MANIFEST counts. They are moved like one is written.
const markers = "marker.manifest."

// Create implements vfs.FS.
func (w watched) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	r, p := w.failures.room, purposes[category]
	if w.PathDir(name) == r.dir && strings.HasPrefix(w.PathBase(name), markers) {
		p = noting
	}
	if err := r.begin(p); err != nil {
		return nil, err
	}
	if p == noting && r.unnoted() {
		return unnoted{}, nil
	}
	for {
		f, err := w.FS.Create(name, category)
		switch {
		case err == nil && p == others:
			return f, nil
		case err == nil:
			return &watchedFile{File: f, failures: w.failures, purpose: p}, nil
		case !r.again(p, err):
			if err = r.note(p, err); w.failures.outlives(p, err) {
				return unnoted{}, nil
			}
			return nil, err
		}
	}
}

// Remove implements vfs.FS. What a note that was not written says is obsolete is not.
func (w watched) Remove(name string) error {
	if w.failures.room.unnoted() {
		return nil
	}
	return w.FS.Remove(name)
}

// OpenDir implements vfs.FS.
func (w watched) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	switch {
	case err != nil:
		return nil, err
	case name == w.failures.room.dir:
		return watchedDir{f, name, w.failures}, nil
	case w.failures.room.copies(name):
		return copyDir{f, name, w.failures.room}, nil
	default:
		return f, nil
	}
}

// Unwrap implements vfs.FS.
func (w watched) Unwrap() vfs.FS { return w.FS }

// watchedFile is one that is written for a purpose.
type watchedFile struct {
	vfs.File
	failures *failures
	purpose  purpose
	written  int // since the last look at what is free
	// Of notes: what no sync has made durable, and where it stands. A sync that finds no room may have lost it.
	unsynced []byte
	synced   int64
}

// unnoted is a file of notes that nobody will read.
type unnoted struct{ vfs.File }

// Write implements vfs.File.
func (unnoted) Write(p []byte) (int, error) { return len(p), nil }

// Sync implements vfs.File.
func (unnoted) Sync() error { return nil }

// SyncData implements vfs.File.
func (unnoted) SyncData() error { return nil }

// SyncTo implements vfs.File.
func (unnoted) SyncTo(int64) (bool, error) { return true, nil }

// Preallocate implements vfs.File.
func (unnoted) Preallocate(int64, int64) error { return nil }

// Prefetch implements vfs.File.
func (unnoted) Prefetch(int64, int64) error { return nil }

// Fd implements vfs.File.
func (unnoted) Fd() uintptr { return vfs.InvalidFd }

// Close implements vfs.File.
func (unnoted) Close() error { return nil }

// done is called with how what was written for a purpose ended.
func (f *watchedFile) done(err error) error {
	if err = f.failures.room.note(f.purpose, err); f.failures.outlives(f.purpose, err) {
		return nil
	}
	return err
}

// Write implements vfs.File.
func (f *watchedFile) Write(p []byte) (n int, err error) {
	if f.ignored() {
		return len(p), nil
	}
	if f.written += len(p); f.written >= lookBytes {
		f.written = 0
		if err := f.failures.room.note(f.purpose, f.failures.room.admit(f.purpose)); err != nil {
			return 0, err
		}
	}
	for {
		held := len(f.unsynced)
		if f.purpose == noting { // before: a vfs.File may change what it was given to write
			f.unsynced = append(f.unsynced, p[n:]...)
		}
		more, err := f.File.Write(p[n:])
		if f.purpose == noting {
			f.unsynced = f.unsynced[:held+more]
		}
		n += more
		if err == nil {
			if f.purpose == noting {
				f.failures.room.ended(noting, nil)
			}
			return n, nil
		}
		if !f.failures.room.again(f.purpose, err) {
			if err = f.done(err); err == nil {
				n = len(p)
			}
			return n, err
		}
	}
}

// Sync implements vfs.File.
func (f *watchedFile) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements vfs.File.
func (f *watchedFile) SyncData() error { return f.sync(f.File.SyncData) }

// sync makes durable what was written. Notes are written anew before it is tried again.
func (f *watchedFile) sync(do func() error) error {
	if f.ignored() {
		return nil
	}
	err := do()
	for err != nil && f.failures.room.again(f.purpose, err) {
		if err = f.rewrite(); err == nil {
			err = do()
		}
	}
	if err != nil {
		return f.done(err)
	}
	if f.purpose == noting {
		f.synced, f.unsynced = f.synced+int64(len(f.unsynced)), nil
		f.failures.room.ended(noting, nil)
	}
	return nil
}

// rewrite writes what no sync has made durable where it stands already.
func (f *watchedFile) rewrite() error {
	write := f.File.WriteAt
	if once, ok := f.File.(interface {
		Rewrite(p []byte, offset int64) (int, error) // of a file that takes nothing else there
	}); ok {
		write = once.Rewrite
	}
	_, err := write(bytes.Clone(f.unsynced), f.synced)
	return err
}

// ignored reports whether nothing is written any more: a note behind one that was not is not true.
func (f *watchedFile) ignored() bool { return f.purpose == noting && f.failures.room.unnoted() }

// SyncTo implements vfs.File.
func (f *watchedFile) SyncTo(length int64) (bool, error) {
	if f.ignored() {
		return true, nil
	}
	full, err := f.File.SyncTo(length)
	return full, f.done(err)
}

// Close implements vfs.File.
func (f *watchedFile) Close() error { return f.done(f.File.Close()) }

// copyDir is that of a checkpoint under way: at a failure to sync it Pebble panics here, and tells there. Whoever makes
// the checkpoint is told at its end.
type copyDir struct {
	vfs.File
	name string
	room *room
}

// Sync implements vfs.File.
func (d copyDir) Sync() error {
	if err := d.File.Sync(); err != nil {
		d.room.copyFails(d.name, err)
	}
	return nil
}

type watchedDir struct {
	vfs.File
	name     string
	failures *failures
}

// Sync implements vfs.File. Where there was no room it is tried again: unlike what a file was given, the names in a
// directory are not forgotten by a sync that failed for that.
func (d watchedDir) Sync() error {
	err := d.File.Sync()
	if err == nil {
		return nil
	}
	for err != nil && d.failures.room.again(noting, err) {
		err = d.File.Sync()
	}
	if err == nil {
		d.failures.room.ended(noting, nil)
		return nil
	}
	err = fmt.Errorf("sync %s: %w", d.name, err)
	if !d.failures.believed(err) {
		d.failures.Fatalf("%v", err)
	}
	return nil
}
