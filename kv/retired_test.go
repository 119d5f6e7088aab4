package kv

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
)

// failingFlushes is a disk on which flushes fail, once it fails. An attempt takes a moment, as it does on a real one.
type failingFlushes struct {
	vfs.FS
	fails    atomic.Pointer[error]
	attempts atomic.Int64
}

func (d *failingFlushes) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.fails.Load(); err != nil && purposes[c] == flushing {
		d.attempts.Add(1)
		time.Sleep(time.Millisecond)
		return nil, *err
	}
	return d.FS.Create(name, c)
}

// A flush that fails is the answer of whoever waits for it, at once, and what keeps the store from going on is told.
// Without room it is tried again. A reader holds the database for as long as he likes meanwhile, also while it is being
// closed: it is tried again with pauses.
func TestAFlushThatFailsIsToldAndTriedAgainWithPauses(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		virtual.Test(t, func(t *testing.T) {
			disk, told := &failingFlushes{FS: vfs.NewMem()}, make(chan error, 1000)
			f := fillerOn(t, disk, 0)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Options{FS: disk, Dir: "kv", Logger: quiet(), OnFailure: func(err error) { told <- err }})
			if err != nil {
				t.Fatal(err)
			}
			f.Store = s
			f.put("k000000")
			disk.fails.Store(&cause)
			synced := make(chan error, 1)
			go func() { synced <- s.Sync() }()
			select {
			case err := <-synced:
				if !errors.Is(err, cause) {
					t.Errorf("synced: %v", err)
				}
			case <-time.After(time.Minute):
				t.Errorf("%v: Sync does not answer", cause)
			}
			time.Sleep(time.Second)
			if durable.Full(cause) != (len(told) == 0) || !durable.Full(cause) && !errors.Is(<-told, cause) {
				t.Errorf("%v: told %d times", cause, len(told))
			}
			s.current.Load().room.stop() // as close does, before it waits for readers: in a mutex, where time stands
			disk.attempts.Store(0)
			time.Sleep(time.Minute)
			if n := disk.attempts.Load(); n > 20 {
				t.Errorf("%v: tried %d times in a minute", cause, n)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// slowNotes is a disk on which the notes of one generation wait, and fail then.
type slowNotes struct {
	vfs.FS
	dir   string
	waits atomic.Bool
	begun chan struct{} // one waits
	fail  chan struct{} // closed when they fail
}

func (d *slowNotes) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err != nil || purposes[c] != noting || !strings.HasPrefix(name, d.dir) {
		return f, err
	}
	return &slowNote{f, d}, nil
}

type slowNote struct {
	vfs.File
	disk *slowNotes
}

func (n *slowNote) Sync() error {
	if n.disk.waits.Load() {
		select {
		case n.disk.begun <- struct{}{}:
		default:
		}
		<-n.disk.fail
		return syscall.EIO
	}
	return n.File.Sync()
}

func (n *slowNote) SyncData() error { return n.Sync() }

// Who makes durable what is applied, or copies it, asks for what counts: that a former content cannot be any more is no
// answer.
func TestAContentThatIsReplacedMeanwhileFailsNobody(t *testing.T) {
	for what, do := range map[string]func(s *Store) error{
		"sync":       (*Store).Sync,
		"checkpoint": func(s *Store) error { return s.Checkpoint("copy") },
		"reclaim":    func(s *Store) error { return Reclaim(t.Context(), s) },
	} {
		disk := &slowNotes{
			FS: vfs.NewMem(), dir: "kv/" + generationName(1), begun: make(chan struct{}, 1), fail: make(chan struct{}),
		}
		f := fillerOn(t, disk, 0)
		f.put("k000000")
		if err := f.Checkpoint("before"); err != nil {
			t.Fatal(err)
		}
		f.put("k000001")
		disk.waits.Store(true)
		done, former := make(chan error, 1), f.current.Load()
		for begun := false; !begun; { // Reclaim leaves it to a compaction that is under way
			go func() { done <- do(f.Store) }()
			select {
			case <-disk.begun:
				begun = true
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := f.Install("before", nil); err != nil {
			t.Fatal(err)
		}
		<-former.room.closing
		close(disk.fail)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// tornMarkers is a disk that fails as it makes a marker, after it is there, or as it makes durable that it is.
type tornMarkers struct {
	vfs.FS
	creates, syncs atomic.Bool
}

func (d *tornMarkers) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err == nil && d.creates.Load() && strings.HasPrefix(path.Base(name), "marker."+markerName) {
		return nil, errors.Join(syscall.ENOSPC, f.Close())
	}
	return f, err
}

func (d *tornMarkers) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil || name != "kv" {
		return f, err
	}
	return tornDir{f, d}, nil
}

type tornDir struct {
	vfs.File
	disk *tornMarkers
}

func (d tornDir) Sync() error {
	// Not what stage syncs before: the new name is there.
	names, err := d.disk.List("kv")
	for _, name := range names {
		if d.disk.syncs.Load() && name == fmt.Sprintf("marker.%s.%06d.%s", markerName, 2, generationName(2)) {
			return syscall.EIO
		}
	}
	return errors.Join(err, d.File.Sync())
}

// An Install whose marker cannot be moved is an error, and no panic. The former content goes on, and whichever the disk
// names at the next start is there. If nobody knows which one that is, the store's owner is told, and nothing is
// installed any more.
func TestAnInstallWhoseMarkerFailsIsAnError(t *testing.T) {
	for _, torn := range []bool{false, true} {
		disk, told := &tornMarkers{FS: vfs.NewMem()}, make(chan error, 2)
		f := fillerOn(t, disk, 0)
		f.Store.options.OnFailure = func(err error) { told <- err }
		f.put("k000000")
		if err := f.Checkpoint("before"); err != nil {
			t.Fatal(err)
		}
		f.put("k000001")
		disk.creates.Store(!torn)
		disk.syncs.Store(torn)
		err := f.Install("before", nil)
		if want := map[bool]error{false: syscall.ENOSPC, true: syscall.EIO}[torn]; !errors.Is(err, want) ||
			errors.Is(err, errTorn) != torn {
			t.Errorf("torn %t: installed: %v", torn, err)
		}
		disk.creates.Store(false)
		disk.syncs.Store(false)
		if torn {
			if err := <-told; !errors.Is(err, errTorn) {
				t.Errorf("told %v", err)
			}
			if err := f.Install("before", nil); !errors.Is(err, errTorn) {
				t.Errorf("installed again: %v", err)
			}
		}
		if got := f.count(); got != 2 {
			t.Errorf("torn %t: %d keys, and 2 before", torn, got)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		again := fillerOn(t, disk.FS, 0)
		if got := again.count(); got != 2 && !(torn && got == 1) {
			t.Errorf("torn %t: %d keys at the next start", torn, got)
		}
		if err := errors.Join(again.Install("before", nil), again.Close()); err != nil {
			t.Errorf("torn %t: %v", torn, err)
		}
	}
}

// A marker that was moved and not made durable names what the next start has. What it named before goes only after it
// is durable: else a loss of power has neither.
func TestWhatAMarkerNamedBeforeOutlivesItsSync(t *testing.T) {
	disk := &tornMarkers{FS: vfs.NewMem()}
	f := fillerOn(t, disk, 0)
	f.Store.options.OnFailure = nil
	f.put("k000000")
	if err := f.Checkpoint("before"); err != nil {
		t.Fatal(err)
	}
	disk.syncs.Store(true)
	if err := f.Install("before", nil); !errors.Is(err, errTorn) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(Options{FS: disk, Dir: "kv", Logger: quiet()}); !errors.Is(err, syscall.EIO) {
		t.Errorf("the marker is not durable, and the store opens: %v", err)
		defer s.Close()
	}
	for _, name := range []string{generationName(1), generationName(2)} {
		if _, err := disk.Stat("kv/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	disk.syncs.Store(false)
	again := fillerOn(t, disk, 0)
	if got := again.count(); got != 1 {
		t.Errorf("%d keys", got)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
