package server

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/witness"
)

// fleetPrefix begins the name of the directory of one of several fleets, in that of their witness.
const fleetPrefix = "fleet-"

// apart is a filesystem in whose directory dir those of fleets are not listed.
type apart struct {
	vfs.FS
	dir string
}

// List implements vfs.FS.
func (a apart) List(dir string) ([]string, error) {
	names, err := a.FS.List(dir)
	if dir != a.dir {
		return names, err
	}
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, fleetPrefix) }), err
}

// below is the filesystem under that of the disk.
func (d *disk) below() vfs.FS {
	if d.apart {
		return apart{vfs.Default, d.dir}
	}
	return vfs.Default
}

// heldFS has a lock that this process took before.
type heldFS struct{ durable.FS }

// Lock implements durable.FS.
func (heldFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// peek returns the directory to read in, whoever writes there.
func (d *disk) peek(keyFile string) (durable.FS, error) {
	if keyFile == "" {
		return durable.OS, d.check()
	}
	var err error
	if d.keys, err = readKeys(keyFile); err != nil {
		return nil, err
	}
	return pebblefs.New(atrest.New(d.below(), d.keys)), d.check()
}

// place returns the directory of a fleet. One that is alone has that of the witness, as in versions that knew one only,
// and stays there when others come; those have one each in it.
func (o *WitnessOptions) place(fleet string) (string, error) {
	own := filepath.Join(o.DataDir, fleetPrefix+fleet)
	if witness.Used(durable.OS, own) {
		return own, nil
	}
	if len(o.Fleets) == 1 {
		return o.DataDir, nil
	}
	fs, err := (&disk{dir: o.DataDir, apart: true}).peek(o.EncryptionKeyFile)
	if err != nil {
		return o.DataDir, err
	}
	owner, err := witness.FleetOf(fs, o.DataDir)
	switch {
	case err != nil:
		return o.DataDir, fmt.Errorf("fleet %s has no directory %s, and may have been this one's: %w", fleet, own, err)
	case owner == fleet:
		return o.DataDir, nil
	case owner != "" && !slices.ContainsFunc(o.Fleets, func(f WitnessFleet) bool { return f.ID == owner }):
		return o.DataDir, fmt.Errorf("%w: the votes in it are of fleet %s, which no --fleet names: before fleet %s "+
			"begins here, name that too", replication.ErrIdentity, owner, fleet)
	}
	return own, nil
}

// open makes the directory of a fleet ready.
func (o *WitnessOptions) open(dir string) (durable.FS, error) {
	top := dir == o.DataDir
	d := &disk{dir: dir, held: top, apart: top}
	held, err := d.open(o.EncryptionKeyFile, o.Logger)
	if err == nil && held != nil {
		err = held.Close()
	}
	if err != nil {
		return nil, err
	}
	fs := d.libraryFS()
	if fs == nil {
		fs = durable.OS
	}
	if top {
		fs = heldFS{fs}
	}
	return fs, nil
}
