package kv

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/mimir-kv/mimir/replication"
)

// TestAStoreOfANewerVersionIsNotDamaged: an upgrade can be taken back only where nothing says to throw the disk away.
func TestAStoreOfANewerVersionIsNotDamaged(t *testing.T) {
	disk := vfs.NewMem()
	f := fillerOn(t, disk, 0)
	f.put("k000000")
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	raiseFormat(t, disk, "kv")
	s, err := Open(Options{FS: disk, Dir: "kv", Logger: quiet()})
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, replication.ErrNewer) || errors.Is(err, replication.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// raiseFormat says of every database below dir that a Pebble to come wrote it.
func raiseFormat(t *testing.T, disk vfs.FS, dir string) {
	t.Helper()
	names, err := disk.List(dir)
	if err != nil {
		return // a file
	}
	for _, name := range names {
		if strings.HasPrefix(name, "marker.format-version.") {
			marker, _, err := atomicfs.LocateMarker(disk, dir, "format-version")
			if err == nil {
				err = errors.Join(marker.Move("999"), marker.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	for _, name := range names {
		raiseFormat(t, disk, disk.PathJoin(dir, name))
	}
}
