package rewind

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
)

// full is a disk that has no room for one kind of call until enough of these directories are removed.
type full struct {
	faulty
	call string
	left int
}

func fill(fs durable.FS, call string, dirs int) *full {
	f := &full{call: call, left: dirs}
	f.faulty = faulty{fs, func(call, name string) error {
		if call == "remove" {
			if _, err := fs.Stat(name); err == nil {
				f.left--
			}
		} else if call == f.call && f.left > 0 {
			return syscall.ENOSPC
		}
		return nil
	}}
	return f
}

// TestAFullDiskIsRelieved (W4): where there is room neither for another name nor for a sync, marks give theirs back,
// those that are not wanted any more with the start, others when they are in the way.
func TestAFullDiskIsRelieved(t *testing.T) {
	for _, call := range []string{"rename", "sync"} {
		for _, wanted := range []bool{true, false} {
			p := newPlace(t)
			p.writes(8)
			p.look()
			p.writes(16)
			p.look()
			if got := p.in(p.config.marksDir()); len(got) != 2 {
				t.Fatalf("on the disk %v", got)
			}
			whole := p.fs
			if wanted {
				p.config.SpareBytes, p.config.FS = 1<<62, crowded{fill(whole, call, 2)}
				p.look() // there is room at its end
				p.look()
			} else {
				p.fs, p.every = fill(whole, call, 1), 0
				p.reopen()
			}
			if len(p.remains.dirs) != 0 {
				t.Errorf("%s, wanted %v: remains %v", call, wanted, p.remains.dirs)
			}
			after := pebblefs.New(p.disk.CrashClone(vfs.CrashCloneCfg{}))
			for _, fs := range []durable.FS{whole, after} {
				for _, dir := range []string{p.config.marksDir(), p.config.marksDir() + partSuffix} {
					if names, err := fs.List(dir); len(names) != 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Errorf("%s, wanted %v: in %s %v, %v", call, wanted, dir, names, err)
					}
				}
			}
		}
	}
}

// TestWhatIsLeftOnAFullDiskIsNoWholeOne: METADATA is gone, also after a power cut, before anything else is.
func TestWhatIsLeftOnAFullDiskIsNoWholeOne(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		p := newPlace(t)
		p.writes(8)
		p.look()
		whole, removes := p.fs, 0
		broken := faulty{whole, func(call, name string) error {
			switch {
			case call == "rename":
				return syscall.ENOSPC
			case call == "remove" && !strings.HasSuffix(name, partSuffix):
				removes++
				return syscall.EIO
			}
			return nil
		}}
		if wanted {
			p.config.FS = broken
			if err := p.Forget(t.Context()); !errors.Is(err, syscall.EIO) {
				t.Errorf("forgotten: %v", err)
			}
		} else {
			p.fs, p.every = broken, 0
			p.reopen()
			p.fs = whole
		}
		mark := filepath.Join(p.config.marksDir(), "9")
		after := pebblefs.New(p.disk.CrashClone(vfs.CrashCloneCfg{}))
		if _, err := after.Stat(copies.Contents(mark)); err != nil || removes == 0 || len(p.remains.dirs) != 1 {
			t.Fatalf("wanted %v: %v, %d removes, remains %v", wanted, err, removes, p.remains.dirs)
		}
		if meta, err := copies.Look(after, mark); meta != nil || err != nil {
			t.Errorf("wanted %v: after a power cut %+v, %v", wanted, meta, err)
		}
		p.heals()
		p.unfit = true
		p.look()
		p.empty()
	}
}

// TestWhatIsGoneAndNotSyncedIsNotForgotten: that nobody sees a mark any more does not have it stay away.
func TestWhatIsGoneAndNotSyncedIsNotForgotten(t *testing.T) {
	p := newPlace(t)
	p.writes(8)
	p.look()
	p.fails("sync", syscall.ENOSPC)
	for range 2 {
		if err := p.Forget(t.Context()); !durable.Full(err) {
			t.Errorf("forgotten: %v", err)
		}
		mark := filepath.Join(p.config.marksDir(), "9")
		if got := p.in(p.config.marksDir()); len(got) != 0 || !slices.Contains(removable(p), mark) {
			t.Errorf("on the disk %v, to be removed %v", got, removable(p))
		}
		p.sweep(p.config.Applied.View())
	}
	p.heals()
	p.sweep(p.config.Applied.View())
	after := pebblefs.New(p.disk.CrashClone(vfs.CrashCloneCfg{}))
	if names, err := after.List(p.config.marksDir()); err != nil || len(names) != 0 || len(p.remains.dirs) != 0 {
		t.Errorf("after a power cut %v, %v, to be removed %v", names, err, removable(p))
	}
}

// removable returns what is to be removed.
func removable(p *place) (dirs []string) {
	for dir := range p.remains.dirs {
		dirs = append(dirs, dir)
	}
	return dirs
}
