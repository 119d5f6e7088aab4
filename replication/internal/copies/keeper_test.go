package copies

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
)

var quiet = slog.New(slog.DiscardHandler)

// unsettled is a disk on which the directory of a keeper cannot be synced once a copy has a name in it, while it fails.
type unsettled struct {
	durable.FS
	fails error
}

func (u *unsettled) SyncDir(dir string) error {
	if _, err := u.Stat(filepath.Join(dir, "1")); err == nil && u.fails != nil {
		return u.fails
	}
	return u.FS.SyncDir(dir)
}

// TestACopyWhoseNameCouldNotBeSyncedIsKeptAgain (C4), on a real disk, where the name is taken: there may have been no
// room, and what is kept then is the state as it is then.
func TestACopyWhoseNameCouldNotBeSyncedIsKeptAgain(t *testing.T) {
	disk, e := &unsettled{FS: durable.OS}, enginetest.Volatile()
	dir := filepath.Join(t.TempDir(), "kept")
	m := NewMaker(disk, e)
	k := NewKeeper(m, dir, quiet)
	meta := put(t, e, "a")
	keep := func(record string) error {
		t.Helper()
		p, err := k.Begin(&contract.Metadata{
			AppliedIndex: meta.AppliedIndex, Position: meta.Position, Record: []byte(record),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.Keep(p)
		return err
	}
	disk.fails = syscall.ENOSPC
	for range 3 {
		if err := keep("before"); !errors.Is(err, syscall.ENOSPC) || k.Kept() != 0 {
			t.Fatalf("kept %d, %v", k.Kept(), err)
		}
	}
	disk.fails = nil
	if err := keep("now"); err != nil || k.Kept() != 1 {
		t.Fatalf("there is room, and kept is %d, %v", k.Kept(), err)
	}
	if names, err := disk.List(dir); err != nil || !slices.Equal(names, []string{"1"}) {
		t.Errorf("on disk: %v, %v", names, err)
	}
	if kept, err := m.Metadata(filepath.Join(dir, "1")); err != nil || string(kept.Record) != "now" {
		t.Errorf("kept is %+v, %v", kept, err)
	}
}

// TestACopyThatIsFoundIsDurable (C4): a process that could not sync its name may have ended then, and the log is cut
// behind it once it counts.
func TestACopyThatIsFoundIsDurable(t *testing.T) {
	memory, e := vfs.NewCrashableMem(), enginetest.Volatile()
	disk := &unsettled{FS: pebblefs.New(memory), fails: syscall.ENOSPC}
	if err := durable.MakeDir(disk, "kept"); err != nil {
		t.Fatal(err)
	}
	m := NewMaker(disk, e)
	k := NewKeeper(m, "kept", quiet)
	p, err := k.Begin(put(t, e, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Keep(p); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	again := NewKeeper(m, "kept", quiet)
	if dir, err := again.Newest(); !errors.Is(err, syscall.ENOSPC) || again.Kept() != 0 {
		t.Errorf("found %q, kept %d, although a power cut may take it: %v", dir, again.Kept(), err)
	}
	disk.fails = nil
	if _, err := again.Newest(); err != nil || again.Kept() != 1 {
		t.Fatalf("kept %d, %v", again.Kept(), err)
	}
	after := NewKeeper(NewMaker(pebblefs.New(memory.CrashClone(vfs.CrashCloneCfg{})), e), "kept", quiet)
	if dir, err := after.Newest(); err != nil || after.Kept() != 1 {
		t.Errorf("after a power cut: found %q, kept %d, %v", dir, after.Kept(), err)
	}
}

// stuck is a disk on which nothing can be removed, as long as it fails.
type stuck struct {
	durable.FS
	fails bool
}

func (s *stuck) RemoveAll(name string) error {
	if s.fails {
		return syscall.EMFILE
	}
	return s.FS.RemoveAll(name)
}

// TestAPartThatCannotBeRemovedHindersNothing: it goes with a later copy, and no other part is written over it.
func TestAPartThatCannotBeRemovedHindersNothing(t *testing.T) {
	disk, e := &stuck{FS: pebblefs.New(vfs.NewMem())}, enginetest.Volatile()
	meta := put(t, e, "a")
	if err := durable.MakeDir(disk, "kept/1-2.tmp"); err != nil {
		t.Fatal(err)
	}
	k := NewKeeper(NewMaker(disk, e), "kept", quiet)
	disk.fails = true
	if _, err := k.Newest(); err != nil {
		t.Fatalf("the node does not start: %v", err)
	}
	disk.fails = false
	p, err := k.Begin(meta)
	if err != nil {
		t.Fatal(err)
	}
	if p.dir != filepath.Join("kept", "1-3.tmp") {
		t.Errorf("the next part is %s", p.dir)
	}
	if _, err := k.Keep(p); err != nil {
		t.Fatal(err)
	}
	if names, err := disk.List("kept"); err != nil || !slices.Equal(names, []string{"1"}) {
		t.Errorf("left is %q, %v", names, err)
	}
}

// clinging is a disk on which one directory cannot be removed.
type clinging struct {
	durable.FS
	clings string
}

func (c *clinging) RemoveAll(name string) error {
	if name == c.clings {
		return syscall.EBUSY
	}
	return c.FS.RemoveAll(name)
}

// TestAnOldCopyThatCannotBeRemovedHindersNothing: the new one is kept durably, and the old one goes with a later copy,
// also of a process that began after it.
func TestAnOldCopyThatCannotBeRemovedHindersNothing(t *testing.T) {
	disk, e := &clinging{FS: pebblefs.New(vfs.NewMem())}, enginetest.Volatile()
	m := NewMaker(disk, e)
	k := NewKeeper(m, "kept", quiet)
	if err := durable.MakeDir(disk, "kept"); err != nil {
		t.Fatal(err)
	}
	meta := put(t, e, "a")
	keep := func(index uint64) {
		t.Helper()
		at := *meta
		at.AppliedIndex = index
		p, err := k.Begin(&at)
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := k.Keep(p); err != nil || kept != index || k.Kept() != index {
			t.Fatalf("kept %d, %v; want %d", kept, err, index)
		}
	}
	left := func(want ...string) {
		t.Helper()
		names, err := disk.List("kept")
		slices.Sort(names)
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("on disk: %q, %v; want %q", names, err, want)
		}
	}
	keep(100)
	disk.clings = filepath.Join("kept", "100")
	keep(200)
	left("100", "200")
	k = NewKeeper(m, "kept", quiet)
	if dir, err := k.Newest(); err != nil || dir != filepath.Join("kept", "200") {
		t.Fatalf("newest is %q, %v", dir, err)
	}
	left("100", "200")
	disk.clings = ""
	keep(300)
	left("300")
	if err := durable.MakeDir(disk, "kept/100"); err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeeper(m, "kept", quiet).Newest(); err != nil {
		t.Fatal(err)
	}
	left("300")
}

// ordered is a disk that notes in which order a directory is made durable, and something of it is removed.
type ordered struct {
	durable.FS
	did []string
}

func (o *ordered) SyncDir(name string) error {
	o.did = append(o.did, "sync "+name)
	return o.FS.SyncDir(name)
}

func (o *ordered) RemoveAll(name string) error {
	o.did = append(o.did, "remove "+name)
	return o.FS.RemoveAll(name)
}

// TestAStartRemovesNothingBeforeItsNameIsDurable: what was put aside may have the name of a copy again after a power
// cut, by which half of it would pass for one, whether or not there is another copy. What was never whole has had no
// such name, and may be what fills the disk.
func TestAStartRemovesNothingBeforeItsNameIsDurable(t *testing.T) {
	for _, left := range [][]string{{"kept/10-3.tmp", "kept/11-4.tmp"}, {"kept/9", "kept/10-3.tmp", "kept/11-4.tmp"}} {
		disk := &ordered{FS: pebblefs.New(vfs.NewMem())}
		for _, dir := range left {
			if err := durable.MakeDir(disk, dir); err != nil {
				t.Fatal(err)
			}
		}
		aside := filepath.Join("kept/10-3.tmp", metadataFile)
		if err := durable.WriteFile(disk, aside, func(io.Writer) error { return nil }); err != nil {
			t.Fatal(err)
		}
		disk.did = nil
		if _, err := NewKeeper(NewMaker(disk, enginetest.Volatile()), "kept", quiet).Newest(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(disk.did, []string{"remove kept/11-4.tmp", "sync kept", "remove kept/10-3.tmp"}) {
			t.Errorf("left %q: %q", left, disk.did)
		}
	}
}
