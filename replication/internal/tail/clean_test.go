package tail

import (
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// TestWhatWasNotFinishedIsRemoved, and nothing else that is there.
func TestWhatWasNotFinishedIsRemoved(t *testing.T) {
	disk := vfs.NewMem()
	fs := pebblefs.New(disk)
	tailsOn(disk).Clean() // where nothing is yet
	log, st, d := lost(t)
	if err := NewSaver(tailsOn(disk), log).Save(d, st, 5, noCopy); err != nil {
		t.Fatal(err)
	}
	kept, err := disk.List("/rescue")
	if err != nil {
		t.Fatal(err)
	}
	kept = append(kept, "a~1.rescue", "notes.tmp", "b.state")
	for _, dir := range []string{"b.state", "c.state.tmp", "c.state.tmp/contents"} {
		if err := fs.MkdirAll("/rescue/" + dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{
		"a~1.rescue", "notes.tmp", "b.state/METADATA", "c.state.tmp/contents/stream", "d.rescue.tmp",
	} {
		write := func(w io.Writer) error {
			_, err := w.Write([]byte("text"))
			return err
		}
		if err := durable.WriteFile(fs, "/rescue/"+file, write); err != nil {
			t.Fatal(err)
		}
	}
	tailsOn(disk).Clean()
	left, err := disk.List("/rescue")
	slices.Sort(left)
	slices.Sort(kept)
	if err != nil || !slices.Equal(left, kept) {
		t.Errorf("left %v, %v, want %v", left, err, kept)
	}
}

// unsettled is a disk on which syncs of one directory fail, so often.
type unsettled struct {
	durable.FS
	dir  string
	left int
}

func (u *unsettled) SyncDir(dir string) error {
	if dir == u.dir && u.left > 0 {
		u.left--
		return syscall.ENOSPC
	}
	return u.FS.SyncDir(dir)
}

// TestATailIsSavedOnceAPowerCutLeavesIt: an attempt that finds what one before left counts on that no sooner.
func TestATailIsSavedOnceAPowerCutLeavesIt(t *testing.T) {
	log, st, d := lost(t)
	disk := vfs.NewCrashableMem()
	tails := tailsOn(disk)
	tails.config.FS = &unsettled{tails.config.FS, "/rescue", 2}
	for range 2 {
		if err := NewSaver(tails, log).Save(d, st, 5, noCopy); !durable.Full(err) {
			t.Errorf("saved: %v", err)
		}
	}
	if err := NewSaver(tails, log).Save(d, st, 5, noCopy); err != nil {
		t.Fatal(err)
	}
	list, err := tailsOn(disk.CrashClone(vfs.CrashCloneCfg{})).List()
	if err != nil || len(list) != 1 || list[0].Damaged != "" {
		t.Errorf("after a power cut: %+v, %v", list, err)
	}
}
