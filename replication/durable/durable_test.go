package durable_test

import (
	"errors"
	"io"
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
