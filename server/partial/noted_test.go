package partial

import (
	"errors"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication/durable"
)

// fullDisk has no room for files that are written anew while it is full.
type fullDisk struct {
	durable.FS
	full bool
}

func (d *fullDisk) Create(name string) (durable.File, error) {
	if d.full {
		return nil, syscall.ENOSPC
	}
	return d.FS.Create(name)
}

// TestWhatCouldNotBeNotedIsNotedLater: that what is held is of no use is written when the disk has room again.
func TestWhatCouldNotBeNotedIsNotedLater(t *testing.T) {
	disk := &fullDisk{FS: durable.OS}
	o := PlaceOptions{FS: disk, Dir: t.TempDir(), Fleet: "f", Region: "edge", Prefixes: prefixes(t, "/a/"),
		Store: kv.Options{CacheBytes: 1 << 20, Logger: logger(t)}}
	place, err := OpenPlace(o)
	if err != nil {
		t.Fatal(err)
	}
	disk.full = true
	if err := place.setParted(true); !errors.Is(err, syscall.ENOSPC) || place.leadsOn() {
		t.Errorf("on a full disk: %v, and it leads on: %t", err, place.leadsOn())
	}
	disk.full = false
	if err := place.setParted(true); err != nil {
		t.Fatal(err)
	}
	if err := place.store.Close(); err != nil { // a kill writes nothing more
		t.Fatal(err)
	}
	if place, err = OpenPlace(o); err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	if !place.id.Parted {
		t.Error("a start takes what is of no use for what to go on from")
	}
}
