package kv

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// watched is the filesystem of a database: its directory cannot fail to be synced, at which Pebble panics wherever it
// is, and what finds no room is noted.
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
	for {
		f, err := w.FS.Create(name, category)
		switch {
		case err == nil && p == others:
			return f, nil
		case err == nil:
			return &watchedFile{File: f, room: r, purpose: p}, nil
		case !r.again(p, err):
			return nil, r.note(p, err)
		}
	}
}

// OpenDir implements vfs.FS.
func (w watched) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	if err != nil || name != w.failures.room.dir { // that of a checkpoint: whoever makes one is told
		return f, err
	}
	return watchedDir{f, name, w.failures}, nil
}

// Unwrap implements vfs.FS.
func (w watched) Unwrap() vfs.FS { return w.FS }

// watchedFile is one that is written for a purpose.
type watchedFile struct {
	vfs.File
	room    *room
	purpose purpose
	written int // since the last look at what is free
}

// Write implements vfs.File.
func (f *watchedFile) Write(p []byte) (n int, err error) {
	if f.written += len(p); f.written >= lookBytes {
		f.written = 0
		if err := f.room.note(f.purpose, f.room.admit(f.purpose)); err != nil {
			return 0, err
		}
	}
	for {
		more, err := f.File.Write(p[n:])
		n += more
		if err == nil && f.purpose == noting {
			f.room.ended(noting, nil)
		}
		if err == nil || !f.room.again(f.purpose, err) {
			return n, f.room.note(f.purpose, err)
		}
	}
}

// Sync implements vfs.File.
func (f *watchedFile) Sync() error { return f.room.note(f.purpose, f.File.Sync()) }

// SyncData implements vfs.File.
func (f *watchedFile) SyncData() error { return f.room.note(f.purpose, f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f *watchedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.room.note(f.purpose, err)
}

// Close implements vfs.File.
func (f *watchedFile) Close() error { return f.room.note(f.purpose, f.File.Close()) }

type watchedDir struct {
	vfs.File
	name     string
	failures *failures
}

// Sync implements vfs.File.
func (d watchedDir) Sync() error {
	err := d.File.Sync()
	if err != nil {
		d.failures.Fatalf("sync %s: %v", d.name, err)
	}
	return err
}
