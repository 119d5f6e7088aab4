package partial

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
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

// TestASpoiledPlaceIsDamaged: of no bit of the file that a disk turns is something believed that was not written.
func TestASpoiledPlaceIsDamaged(t *testing.T) {
	wrote := identity{Version: placeVersion, Fleet: "f", Region: "edge", Prefixes: prefixes(t, "/a/", "/c/"),
		Stopped: 7, Auth: true, AuthRevision: 3, AuthAt: 5, RightsAnew: true, Parted: true}
	text, err := wrote.encode()
	if err != nil {
		t.Fatal(err)
	}
	same := func(id identity) bool {
		id.Sum = ""
		return reflect.DeepEqual(id, wrote)
	}
	for bit := range 8 * len(text) {
		spoiled := slices.Clone(text)
		spoiled[bit/8] ^= 1 << (bit % 8)
		id, err := identityOf(spoiled)
		if err == nil && id.Version == placeVersion && !same(id) ||
			err != nil && !errors.Is(err, replication.ErrDamaged) {
			t.Errorf("bit %d: %s: %+v, %v", bit, spoiled, id, err)
		}
	}
	if id, err := identityOf(text); err != nil || !same(id) {
		t.Errorf("what was written: %+v, %v", id, err)
	}
	wrote.Sum = ""
	before, err := json.Marshal(&wrote)
	if id, failed := identityOf(before); err != nil || failed != nil || !same(id) {
		t.Errorf("of a version before: %+v, %v, %v", id, err, failed)
	}
}
