package kv

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
)

// unsyncedNotes is a disk on which no MANIFEST can be made durable, once it fails.
type unsyncedNotes struct {
	vfs.FS
	fails atomic.Pointer[error]
}

func (d *unsyncedNotes) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err != nil || purposes[c] != noting {
		return f, err
	}
	return &unsyncedNote{f, d}, nil
}

type unsyncedNote struct {
	vfs.File
	disk *unsyncedNotes
}

// Write fails as a sync does where only that is wrong.
func (n *unsyncedNote) Write(p []byte) (int, error) {
	if err := n.disk.fails.Load(); err != nil && *err == syscall.EROFS {
		return 0, *err
	}
	return n.File.Write(p)
}

func (n *unsyncedNote) Sync() error {
	if err := n.disk.fails.Load(); err != nil {
		return *err
	}
	return n.File.Sync()
}

func (n *unsyncedNote) SyncData() error { return n.Sync() }

// A store whose notes cannot be made durable waits for room, or tells its owner, says of nothing since then that it is
// durable, can be closed, and is what it was when it is opened again.
func TestAStoreWhoseNotesFailCanBeClosed(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		virtual.Test(t, func(t *testing.T) {
			disk, told := &unsyncedNotes{FS: vfs.NewMem()}, make(chan error, 1)
			f := fillerOn(t, disk, 0)
			f.put("k000000")
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Options{
				FS: disk, Dir: "kv", Logger: quiet(), OnFailure: func(err error) { told <- err },
			})
			if err != nil {
				t.Fatal(err)
			}
			f.Store = s
			f.put("k000001")
			disk.fails.Store(&cause)
			synced := make(chan error, 1)
			go func() { synced <- s.Sync() }()
			if virtual.Wait(); durable.Full(cause) {
				time.Sleep(time.Minute)
				told <- Lacking(s)
			}
			if err := <-told; !errors.Is(err, cause) {
				t.Errorf("told %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("closed: %v", err)
			}
			if err := <-synced; err == nil {
				t.Error("what was not noted is durable")
			}
			disk.fails.Store(nil)
			again := fillerOn(t, disk, 0)
			if got := again.count(); got != 1 && got != 2 { // the other may be there
				t.Errorf("%d keys, and one was synced", got)
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestANoteWhoseSyncFoundNoRoomIsWrittenAnew, as it was: the store opens, and has everything.
func TestANoteWhoseSyncFoundNoRoomIsWrittenAnew(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk, full := &unsyncedNotes{FS: vfs.NewMem()}, error(syscall.ENOSPC)
		f := fillerOn(t, disk, 0)
		for _, key := range []string{"k000000", "k000001", "k000002"} {
			f.put(key)
			disk.fails.Store(&full)
			if err := f.Sync(); !durable.Full(err) {
				t.Errorf("%s: %v", key, err)
			}
			disk.fails.Store(nil)
			f.synced()
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		again := fillerOn(t, disk, 0)
		if got := again.count(); got != 3 {
			t.Errorf("%d keys of 3", got)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingIsNotedBehindALostNote: what stands behind it would be taken for what follows on the one before.
func TestNothingIsNotedBehindALostNote(t *testing.T) {
	disk := &unsyncedNotes{FS: vfs.NewMem()}
	o := Options{FS: disk, Dir: "kv", Logger: quiet(), OnFailure: func(error) {}}
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	if err := disk.MkdirAll("kv/gen", 0o755); err != nil {
		t.Fatal(err)
	}
	a := newFailures(&o, "kv/gen")
	a.opened = true
	a.room.opened()
	a.room.stop()
	const name, later = "kv/gen/MANIFEST-000001", "kv/gen/MANIFEST-000002"
	fs := watched{disk, a}
	f, err := fs.Create(name, "pebble-manifest")
	if err != nil {
		t.Fatal(err)
	}
	note := func(text string, fails error) {
		if disk.fails.Store(&fails); fails == nil {
			disk.fails.Store(nil)
		}
		if n, err := f.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%s: %d, %v", text, n, err)
		}
		if err := f.Sync(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	note("one ", nil)
	note("two ", syscall.EROFS)
	note("three", nil)
	if _, err := fs.Create(later, "pebble-manifest"); err != nil {
		t.Error(err)
	}
	if err := fs.Remove(name); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if text := readFile(t, disk, name); string(text) != "one " {
		t.Errorf("noted %q", text)
	}
	if _, err := disk.Stat(later); err == nil {
		t.Error("another MANIFEST was begun")
	}
}

// unsyncedDirs is a disk on which no directory can be made durable whose name ends so, while it fails.
type unsyncedDirs struct {
	vfs.FS
	ends  string
	fails atomic.Bool
}

func (d *unsyncedDirs) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil || d.PathBase(name) != d.ends {
		return f, err
	}
	return unsyncedDir{f, d}, nil
}

type unsyncedDir struct {
	vfs.File
	disk *unsyncedDirs
}

func (d unsyncedDir) Sync() error {
	if d.disk.fails.Load() {
		return syscall.ENOSPC
	}
	return d.File.Sync()
}

// TestACheckpointWhoseDirectoryFindsNoRoomIsNone, and no panic: whoever makes it is told, and may try again.
func TestACheckpointWhoseDirectoryFindsNoRoomIsNone(t *testing.T) {
	disk := &unsyncedDirs{FS: vfs.NewMem(), ends: "copy"}
	f := fillerOn(t, disk, 0)
	f.put("k000000")
	disk.fails.Store(true)
	if err := f.Checkpoint("copy"); !durable.Full(err) {
		t.Errorf("told %v", err)
	}
	if names, err := disk.List("copy"); err == nil {
		t.Errorf("left of it: %v", names)
	}
	disk.fails.Store(false)
	if err := errors.Join(f.Checkpoint("copy"), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestAStoreWhoseDirectoryFindsNoRoomGoesOn when there is room: nothing was lost, and nobody had to end.
func TestAStoreWhoseDirectoryFindsNoRoomGoesOn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk := &unsyncedDirs{FS: vfs.NewMem(), ends: generationName(1)}
		f := fillerOn(t, disk, 0)
		f.put("k000000")
		disk.fails.Store(true)
		if err := f.Sync(); !durable.Full(err) {
			t.Errorf("synced without room: %v", err)
		}
		time.Sleep(time.Minute)
		disk.fails.Store(false)
		time.Sleep(time.Minute)
		if err := errors.Join(f.Sync(), Lacking(f.Store), f.Close()); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

// noteless is a disk on which from some write on no MANIFEST can be written, nor synced.
type noteless struct {
	vfs.FS
	left atomic.Int64
}

func (d *noteless) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	if err == nil && strings.Contains(name, "MANIFEST") {
		f = &notelessFile{f, d}
	}
	return f, err
}

type notelessFile struct {
	vfs.File
	disk *noteless
}

func (f *notelessFile) Write(p []byte) (int, error) {
	if f.disk.left.Add(-1) < 0 {
		return 0, syscall.EIO
	}
	return f.File.Write(p)
}

func (f *notelessFile) SyncData() error { return f.Sync() }

func (f *notelessFile) Sync() error {
	if f.disk.left.Add(-1) < 0 {
		return syscall.EIO
	}
	return f.File.Sync()
}

// TestAnOpeningWhoseNotesFailLeavesNothing: it is an error, at whichever of its notes that was; nothing waits for it
// any more, so that the store can be opened again, and has what it had.
func TestAnOpeningWhoseNotesFailLeavesNothing(t *testing.T) {
	refused := 0
	for left := range int64(40) {
		virtual.Test(t, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			f := fillerOn(t, mem, 0)
			f.put("k000000")
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			before := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			disk := &noteless{FS: before}
			disk.left.Store(left)
			s, err := Open(Options{FS: disk, Dir: "kv", Logger: quiet()})
			if err == nil {
				disk.left.Store(1 << 40)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if refused++; !errors.Is(err, syscall.EIO) || errors.Is(err, replication.ErrDamaged) {
				t.Errorf("with %d notes: %v", left, err)
			}
			again, err := Open(Options{FS: before, Dir: "kv", Logger: quiet()})
			if err != nil {
				t.Fatalf("with %d notes, and then all: %v", left, err)
			}
			if again.Revision() < 2 {
				t.Errorf("with %d notes: revision %d is left", left, again.Revision())
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if refused == 0 {
		t.Error("no note was refused")
	}
}
