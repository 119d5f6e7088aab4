package kv

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// worn is a disk on which compactions find no room, and once it breaks fail a little later, as notes do at once.
type worn struct {
	vfs.FS
	breaks atomic.Bool
}

func (d *worn) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	p := purposes[c]
	if p == compacting && !d.breaks.Load() {
		return nil, syscall.ENOSPC
	}
	f, err := d.FS.Create(name, c)
	if err == nil && d.breaks.Load() && (p == compacting || p == noting) {
		f = &wornFile{f, p == compacting}
	}
	return f, err
}

type wornFile struct {
	vfs.File
	late bool
}

func (f *wornFile) Write([]byte) (int, error) {
	if f.late {
		time.Sleep(100 * time.Millisecond)
	}
	return 0, syscall.EIO
}

func (f *wornFile) Sync() error     { return syscall.EIO }
func (f *wornFile) SyncData() error { return syscall.EIO }

// TestAnOpeningBehindWhichACompactionFailsEnds: what Pebble began beside an opening that failed is waited for, and is
// told to nobody.
func TestAnOpeningBehindWhichACompactionFailsEnds(t *testing.T) {
	disk := &worn{FS: vfs.NewMem()}
	f := fillerOn(t, disk, 0)
	for range 8 { // files of the first level: a compaction is due
		f.put("k000000")
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	disk.breaks.Store(true)
	ended, told := make(chan error, 1), make(chan error, 8)
	go func() {
		_, err := Open(Options{FS: disk, Dir: "kv", Logger: quiet(), OnFailure: func(err error) { told <- err }})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("opened: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the opening has not come to its end after a minute")
	}
	select {
	case err := <-told:
		t.Errorf("of a store that nobody has: %v", err)
	default:
	}
}
