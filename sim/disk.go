package sim

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFolder is where a node keeps its log.
const logFolder = dataFolder + "/wal/"

// disk is a filesystem in memory whose syncs of log data take time, and which can lose power between any two
// operations. Other syncs are done at once: some are made under a mutex, and a bubble's time stands still while a
// goroutine waits for one.
type disk struct {
	vfs.FS
	mu     sync.Mutex
	random *rand.Rand
	slow   time.Duration // longest usual sync
	fuse   int           // operations left until the power fails; zero: it does not
	fail   func()
}

func newDisk(fs vfs.FS, random *rand.Rand, slow time.Duration) *disk {
	return &disk{FS: fs, random: random, slow: slow}
}

// arm makes the power fail, by calling fail, before the operations-th change from now on.
func (d *disk) arm(operations int, fail func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fuse, d.fail = operations, fail
}

// change is called before each operation that changes something.
func (d *disk) change() {
	d.mu.Lock()
	burnt := false
	if d.fuse > 0 {
		d.fuse--
		burnt = d.fuse == 0
	}
	fail := d.fail
	d.mu.Unlock()
	if burnt {
		fail()
	}
}

// spin lets what is to be synced wait for the disk, unsynced.
func (d *disk) spin() {
	d.mu.Lock()
	wait := time.Duration(d.random.Int64N(int64(d.slow)))
	if d.random.IntN(200) == 0 {
		wait *= 50
	}
	d.mu.Unlock()
	time.Sleep(wait)
}

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	d.change()
	f, err := d.FS.Create(name, c)
	return d.file(name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return d.file(name, f, err)
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	return d.file(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	d.change()
	f, err := d.FS.ReuseForWrite(from, to, c)
	return d.file(to, f, err)
}

// Link implements vfs.FS.
func (d *disk) Link(from, to string) error {
	d.change()
	return d.FS.Link(from, to)
}

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	d.change()
	return d.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	d.change()
	return d.FS.RemoveAll(name)
}

// Rename implements vfs.FS.
func (d *disk) Rename(from, to string) error {
	d.change()
	return d.FS.Rename(from, to)
}

func (d *disk) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, disk: d, log: strings.HasPrefix(name, logFolder)}, nil
}

// diskFile is a file, or a directory, open for changes.
type diskFile struct {
	vfs.File
	disk *disk
	log  bool
}

// Write implements vfs.File.
func (f *diskFile) Write(p []byte) (int, error) {
	f.disk.change()
	return f.File.Write(p)
}

// WriteAt implements vfs.File.
func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	f.disk.change()
	return f.File.WriteAt(p, at)
}

// Sync implements vfs.File.
func (f *diskFile) Sync() error {
	f.disk.change()
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *diskFile) SyncData() error {
	if f.log {
		f.disk.spin()
	}
	f.disk.change()
	return f.File.SyncData()
}

// SyncTo implements vfs.File.
func (f *diskFile) SyncTo(length int64) (bool, error) {
	f.disk.change()
	return f.File.SyncTo(length)
}
