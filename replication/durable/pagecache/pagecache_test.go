package pagecache_test

import (
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pagecache"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

var errDisk = errors.New("input/output error")

func fill(bytes int) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(make([]byte, bytes))
		return err
	}
}

func content(t *testing.T, disk durable.FS) string {
	t.Helper()
	b, err := durable.ReadFile(disk, "/file")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What a failed sync was about is read until the machine is started anew, and no later sync saves it; what is written
// anew is saved.
func TestAFailedSyncForgets(t *testing.T) {
	disk := pebblefs.New(vfs.NewMem())
	fs := pagecache.New(disk)
	f, err := fs.OpenReadWrite("/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(text string, offset int64) {
		t.Helper()
		if _, err := f.WriteAt([]byte(text), offset); err != nil {
			t.Fatal(err)
		}
	}
	write("kept ", 0)
	if err := f.SyncData(); err != nil {
		t.Fatal(err)
	}
	write("lost", 5)
	fs.FailSyncs(func(string) error { return errDisk })
	if err := f.SyncData(); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	fs.FailSyncs(nil)
	if err := f.Sync(); err != nil {
		t.Fatalf("a later sync: %v", err)
	}
	if got := content(t, fs); got != "kept lost" {
		t.Errorf("the cache says %q", got)
	}
	if got := content(t, pagecache.New(disk)); got != "kept " {
		t.Errorf("the disk says %q", got)
	}
	write("lost", 5)
	if err := f.SyncData(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, pagecache.New(disk)); got != "kept lost" {
		t.Errorf("written anew, the disk says %q", got)
	}
}

// Nothing reaches the disk without a sync, and names keep their pages.
func TestUnsyncedIsInMemoryOnly(t *testing.T) {
	disk := pebblefs.New(vfs.NewMem())
	fs := pagecache.New(disk)
	if err := durable.WriteFile(fs, "/other", fill(9000)); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenReadWrite("/other")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 9000); err != nil {
		t.Fatal(err)
	}
	if err := fs.Rename("/other", "/file"); err != nil {
		t.Fatal(err)
	}
	if got := len(content(t, fs)); got != 9001 {
		t.Errorf("%d bytes in memory", got)
	}
	if info, err := fs.Stat("/file"); err != nil || info.Size() != 9001 {
		t.Errorf("%v, %v", info, err)
	}
	if got := len(content(t, pagecache.New(disk))); got != 9000 {
		t.Errorf("%d bytes on the disk", got)
	}
}
