package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// OS is the filesystem of the machine.
var OS FS = machine{}

type machine struct{}

func (machine) Create(name string) (File, error) {
	return opened(os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600))
}

func (machine) Open(name string) (File, error) {
	f, err := os.Open(name)
	if err == nil {
		adviseSequential(f)
	}
	return opened(f, err)
}

func (machine) OpenReadWrite(name string) (File, error) {
	return opened(os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600))
}

func (machine) Remove(name string) error              { return os.Remove(name) }
func (machine) RemoveAll(name string) error           { return os.RemoveAll(name) }
func (machine) Rename(from, to string) error          { return os.Rename(from, to) }
func (machine) MkdirAll(dir string) error             { return os.MkdirAll(dir, 0o700) }
func (machine) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
func (machine) FreeBytes(name string) (uint64, error) { return freeBytes(name) }
func (machine) SyncDir(dir string) error              { return syncDir(dir) }

func (machine) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return locked{f}, nil
}

// locked is a file that is held. It is let go before it is closed: a process that was begun meanwhile has the file,
// too, until it comes to its own program.
type locked struct{ *os.File }

// Close lets the file go.
func (l locked) Close() error { return errors.Join(unlock(l.File), l.File.Close()) }

func (machine) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// opened makes a File of what package os returned.
func opened(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// osFile is a file of the machine.
type osFile struct{ *os.File }

// SyncData implements File.
func (f osFile) SyncData() error { return syncData(f.File) }
