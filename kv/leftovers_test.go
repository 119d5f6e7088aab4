package kv

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// stuckDisk is a disk on which nothing can be removed that is there, as long as it fails, and nothing can be written in
// the second generation, as long as it breaks.
type stuckDisk struct {
	vfs.FS
	fails, breaks atomic.Bool
}

func (d *stuckDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.breaks.Load() && strings.Contains(name, generationName(2)) {
		return nil, syscall.EIO
	}
	return d.FS.Create(name, c)
}

func (d *stuckDisk) RemoveAll(name string) error {
	if _, err := d.Stat(name); err == nil && d.fails.Load() {
		return &fs.PathError{Op: "removeall", Path: name, Err: syscall.EMFILE}
	}
	return d.FS.RemoveAll(name)
}

// What is of no use any more and cannot be removed at once goes later, without another start: it keeps the room of all
// that the store has given up since. What was done before is done.
func TestWhatCannotBeRemovedGoesLater(t *testing.T) {
	for what, leave := range map[string]func(n *node) error{
		"former content": func(n *node) error {
			err := n.Install("copy", nil)
			n.retired.Wait()
			return err
		},
		"copy": func(n *node) error {
			c, err := n.Snapshot()
			if err != nil {
				return err
			}
			_, err = c.WriteTo(io.Discard)
			return errors.Join(err, c.Close())
		},
		"branch": func(n *node) error {
			b, err := n.Branch("copy")
			if err != nil {
				return err
			}
			return b.Close()
		},
		"what was looked at": func(n *node) error { return n.Verify("copy") },
		"what was restored": func(n *node) error {
			c, err := n.Snapshot()
			if err != nil {
				return err
			}
			var text bytes.Buffer
			_, err = c.WriteTo(&text)
			n.leftovers.fs.(*stuckDisk).fails.Store(false)
			err = errors.Join(err, c.Close())
			n.leftovers.fs.(*stuckDisk).fails.Store(true)
			return errors.Join(err, n.Restore(&text, nil))
		},
	} {
		virtual.Test(t, func(t *testing.T) {
			disk := &stuckDisk{FS: vfs.NewMem()}
			n := openNodeWith(t, Options{FS: disk, Logger: quiet()})
			defer n.Close()
			n.apply(put("a", "1"))
			if err := n.Checkpoint("copy"); err != nil {
				t.Fatal(err)
			}
			lies := func() (dirs []string) {
				names, err := disk.List("store")
				if err != nil {
					t.Fatal(err)
				}
				current := disk.PathBase(n.current.Load().path)
				return slices.DeleteFunc(names, func(name string) bool {
					ours := strings.HasPrefix(name, generationPrefix) || strings.HasPrefix(name, temporaryPrefix)
					return !ours || name == current
				})
			}
			disk.fails.Store(true)
			if err := leave(n); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			time.Sleep(time.Minute)
			if left := lies(); len(left) == 0 {
				t.Errorf("%s: removed although nothing can be", what)
			}
			disk.fails.Store(false)
			time.Sleep(2 * mostChorePause)
			if left := lies(); len(left) != 0 {
				t.Errorf("%s: there is still %v", what, left)
			}
			expect(t, what, n.get("a", 0), "1 c2 m2 v1")
		})
	}
}

// A name of which what it had could not be removed may be given again, since it was not installed. What has it then
// stays.
func TestANameThatIsGivenAnewIsNotRemoved(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk := &stuckDisk{FS: vfs.NewMem()}
		n := openNodeWith(t, Options{FS: disk, Logger: quiet()})
		defer n.Close()
		n.apply(put("a", "1"))
		if err := n.Checkpoint("copy"); err != nil {
			t.Fatal(err)
		}
		n.apply(put("a", "2"))
		disk.fails.Store(true)
		disk.breaks.Store(true)
		if err := n.Install("copy", nil); !errors.Is(err, syscall.EIO) {
			t.Fatalf("installed: %v", err)
		}
		name := disk.PathJoin("store", generationName(2))
		if _, err := disk.Stat(name); err != nil {
			t.Fatalf("nothing is left of what was to be installed: %v", err)
		}
		disk.fails.Store(false)
		disk.breaks.Store(false)
		if err := n.Install("copy", nil); err != nil {
			t.Fatal(err)
		}
		if got := n.current.Load().path; got != name {
			t.Fatalf("the name is another one: %s", got)
		}
		time.Sleep(2 * mostChorePause)
		if _, err := disk.Stat(name); err != nil {
			t.Errorf("the content was removed: %v", err)
		}
		expect(t, "what was installed", n.get("a", 0), "1 c2 m2 v1")
	})
}

// Of more than one that cannot be removed the log says so once, and not at each attempt.
func TestWhatCannotBeRemovedIsSaidOnce(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk, said := &stuckDisk{FS: vfs.NewMem()}, &strings.Builder{}
		o := Options{FS: disk, Clock: clock.Real, Logger: slog.New(slog.NewTextHandler(said, nil))}
		l := newLeftovers(&o)
		disk.fails.Store(true)
		for i := range 8 {
			dir := strconv.Itoa(i)
			if err := disk.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := l.remove(dir); err == nil {
				t.Fatal("removed")
			}
		}
		time.Sleep(10 * mostChorePause)
		l.stop()
		if n := strings.Count(said.String(), "level=ERROR"); n != 1 {
			t.Errorf("said %d times:\n%s", n, said)
		}
	})
}
