package kv

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// marker names the generation that counts. It is Pebble's, which panics where a directory cannot be synced, and may
// leave a new name behind where it failed: here each failure is an error, after which the former name counts, or
// errTorn. It is not safe for concurrent use.
type marker struct {
	*atomicfs.Marker
	fs   vfs.FS
	dir  string
	sync *markedDir
	torn error // why either name may count at the next start, for good
}

// errTorn says that nobody knows until the next start which generation counts: neither may be removed.
var errTorn = errors.New("which content counts is known at the next start")

// locateMarker returns the marker in dir, and what it names, "" if there is none yet.
func locateMarker(fs vfs.FS, dir string) (*marker, string, error) {
	watching := &markingFS{FS: fs}
	m, name, err := atomicfs.LocateMarker(watching, dir, markerName)
	if err != nil {
		return nil, "", err
	}
	return &marker{Marker: m, fs: fs, dir: dir, sync: watching.opened}, name, nil
}

// Move names another generation, durably. After an error the former one counts, unless it is errTorn.
func (m *marker) Move(name string) error {
	if m.torn != nil {
		return m.torn
	}
	file := fmt.Sprintf("marker.%s.%06d.%s", markerName, m.NextIter(), name)
	err := m.Marker.Move(name)
	lost := m.sync.err
	if err != nil && lost == nil { // the file may be there nevertheless
		lost = m.fs.Remove(m.fs.PathJoin(m.dir, file))
		if errors.Is(lost, iofs.ErrNotExist) {
			lost = nil
		}
		lost = cmp.Or(lost, m.sync.File.Sync())
	}
	if lost != nil {
		m.torn = fmt.Errorf("move the marker in %s: %w: %w", m.dir, errTorn, cmp.Or(err, lost))
		return m.torn
	}
	return err
}

// markingFS is the filesystem of a marker.
type markingFS struct {
	vfs.FS
	opened *markedDir
}

// OpenDir implements vfs.FS.
func (m *markingFS) OpenDir(name string) (vfs.File, error) {
	f, err := m.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	m.opened = &markedDir{File: f}
	return m.opened, nil
}

// markedDir is the directory of a marker: it keeps why it could not be synced.
type markedDir struct {
	vfs.File
	err error
}

// Sync implements vfs.File.
func (d *markedDir) Sync() error {
	d.err = d.File.Sync()
	return nil
}
