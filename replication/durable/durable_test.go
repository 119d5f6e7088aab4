package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

func write(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestWhatIsMadeSurvivesAPowerCut(t *testing.T) {
	disk := vfs.NewCrashableMem()
	if err := durable.MakeDir(pebblefs.New(disk), "/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(pebblefs.New(disk), "/a/b/c/file", write("one")); err != nil {
		t.Fatal(err)
	}
	disk = disk.CrashClone(vfs.CrashCloneCfg{})
	if p, err := durable.ReadFile(pebblefs.New(disk), "/a/b/c/file"); err != nil || string(p) != "one" {
		t.Fatalf("%q, %v", p, err)
	}
	if err := durable.MakeDir(pebblefs.New(disk), "/a/b/c"); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedWriteLeavesTheFormerFile(t *testing.T) {
	disk := vfs.NewCrashableMem()
	if err := durable.WriteFile(pebblefs.New(disk), "/file", write("one")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := durable.WriteFile(pebblefs.New(disk), "/file", func(w io.Writer) error {
		return errors.Join(write("two")(w), full)
	})
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	if names, err := disk.List("/"); err != nil || len(names) != 1 {
		t.Errorf("what was not written takes room: %v, %v", names, err)
	}
	for _, fs := range []*vfs.MemFS{disk, disk.CrashClone(vfs.CrashCloneCfg{})} {
		if p, err := durable.ReadFile(pebblefs.New(fs), "/file"); err != nil || string(p) != "one" {
			t.Fatalf("%q, %v", p, err)
		}
	}
}

// unsynced is a disk on which syncs of directories fail.
type unsynced struct {
	durable.FS
	with error
}

func (u unsynced) SyncDir(string) error { return u.with }

// TestAFileThatIsInItsPlaceIsToldFromOneThatIsNot, also where the disk has no room: who goes on knows what it says.
func TestAFileThatIsInItsPlaceIsToldFromOneThatIsNot(t *testing.T) {
	disk := pebblefs.New(vfs.NewMem())
	for _, with := range []error{syscall.ENOSPC, syscall.EIO} {
		if err := durable.WriteFile(disk, "/file", write("one")); err != nil {
			t.Fatal(err)
		}
		err := durable.WriteFile(disk, "/file", func(io.Writer) error { return with })
		if !errors.Is(err, with) || errors.Is(err, durable.ErrUnsettled) {
			t.Errorf("nothing is written: %v", err)
		}
		err = durable.WriteFile(unsynced{disk, with}, "/file", write("two"))
		if !errors.Is(err, durable.ErrUnsettled) || !errors.Is(err, with) ||
			durable.Full(err) != (with == syscall.ENOSPC) {
			t.Errorf("its name is not synced: %v", err)
		}
		if p, err := durable.ReadFile(disk, "/file"); err != nil || string(p) != "two" {
			t.Errorf("%q, %v", p, err)
		}
	}
}

// unnamed is a disk on which nothing gets another name.
type unnamed struct{ durable.FS }

func (unnamed) Rename(string, string) error { return syscall.EIO }

// TestWhatGetsNoNameTakesNoRoom.
func TestWhatGetsNoNameTakesNoRoom(t *testing.T) {
	disk := vfs.NewMem()
	if err := durable.WriteFile(unnamed{pebblefs.New(disk)}, "/file", write("one")); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if names, err := disk.List("/"); err != nil || len(names) != 0 {
		t.Errorf("left %v, %v", names, err)
	}
}

// TestADirectoryIsMadeOnceAPowerCutLeavesIt: one that could not be made durable is not taken for one that is.
func TestADirectoryIsMadeOnceAPowerCutLeavesIt(t *testing.T) {
	disk := vfs.NewCrashableMem()
	if err := durable.MakeDir(unsynced{pebblefs.New(disk), syscall.ENOSPC}, "/a"); !durable.Full(err) {
		t.Fatal(err)
	}
	if err := durable.MakeDir(pebblefs.New(disk), "/a"); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.CrashClone(vfs.CrashCloneCfg{}).Stat("/a"); err != nil {
		t.Errorf("after a power cut: %v", err)
	}
}

// TestADirectoryIsMadeWhereTheOneAboveCannotBeRead: it is made once, and not anew each time.
func TestADirectoryIsMadeWhereTheOneAboveCannotBeRead(t *testing.T) {
	disk := unsynced{pebblefs.New(vfs.NewMem()), fs.ErrPermission}
	if err := durable.MakeDir(disk, "/a"); !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	if err := durable.MakeDir(disk, "/a"); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestSettle: a process is killed between giving names and syncing them, and the machine goes on.
func TestSettle(t *testing.T) {
	disk := vfs.NewCrashableMem()
	fs := pebblefs.New(disk)
	if err := durable.Settle(fs, "/a/b"); err != nil {
		t.Fatalf("where nothing is: %v", err)
	}
	if err := fs.MkdirAll("/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir("/"); err != nil { // which is not the one above
		t.Fatal(err)
	}
	for _, name := range []string{"/a/b/one", "/a/b/c/two"} {
		f, err := fs.Create(name)
		if err == nil {
			err = errors.Join(write("text")(f), f.Sync(), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.Settle(fs, "/a/b"); err != nil {
		t.Fatal(err)
	}
	fs = pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{}))
	for _, name := range []string{"/a/b/one", "/a/b/c/two"} {
		if p, err := durable.ReadFile(fs, name); err != nil || string(p) != "text" {
			t.Errorf("%s: %q, %v", name, p, err)
		}
	}
}

// flaky is a filesystem that cannot open a file, so often.
type flaky struct {
	durable.FS
	fails int
	with  error
}

func (f *flaky) Open(name string) (durable.File, error) {
	if f.fails--; f.fails >= 0 {
		return nil, f.with
	}
	return f.FS.Open(name)
}

// TestWhatCannotBeReadOnceIsReadAgain, and what cannot be read at all is told, and is not taken for missing.
func TestWhatCannotBeReadOnceIsReadAgain(t *testing.T) {
	disk := pebblefs.New(vfs.NewMem())
	if err := durable.WriteFile(disk, "/file", write("one")); err != nil {
		t.Fatal(err)
	}
	for _, with := range []error{syscall.EIO, syscall.EINTR, syscall.EMFILE, syscall.ENFILE} {
		if p, err := durable.ReadFile(&flaky{disk, 1, with}, "/file"); err != nil || string(p) != "one" {
			t.Errorf("after %v: %q, %v", with, p, err)
		}
		p, err := durable.ReadFile(&flaky{disk, 1 << 30, with}, "/file")
		if !errors.Is(err, with) || errors.Is(err, fs.ErrNotExist) || p != nil || !durable.Passing(err) {
			t.Errorf("%v all the time: %q, %v", with, p, err)
		}
	}
	missing := &flaky{disk, 1, fs.ErrNotExist}
	if _, err := durable.ReadFile(missing, "/file"); !errors.Is(err, fs.ErrNotExist) || durable.Passing(err) {
		t.Errorf("a file that is missing: %v", err)
	}
}
