package replication_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestAStartThatFailsAnywhereCanBeRepeated: the disk fails in each step of a start, and then no more. The node that
// was there before has left a log and a state.
func TestAStartThatFailsAnywhereCanBeRepeated(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, before := range []bool{false, true} {
		for step, reached := 0, true; reached; step++ {
			virtual.Test(t, func(t *testing.T) {
				disk := vfs.NewCrashableMem()
				if before {
					c := alone()
					c.FS = pebblefs.New(disk)
					once := startAlone(t, c, &ledger{})
					writeOne(t, once)
					if err := once.Shutdown(); err != nil {
						t.Fatal(err)
					}
				}
				var calls, armed atomic.Int64
				armed.Store(1)
				failing := errorfs.InjectorFunc(func(errorfs.Op) error {
					if armed.Load() != 0 && calls.Add(1) == int64(step+1) {
						return broken
					}
					return nil
				})
				c := alone()
				c.FS = pebblefs.New(errorfs.Wrap(disk, failing))
				network := memory.NewNetwork(clock.Real, 1)
				r, err := replication.NewRaftReplicator(c, &ledger{})
				if err != nil {
					t.Fatal(err)
				}
				r.SetTransport(network.Node("us-1"))
				err = r.Start(t.Context())
				armed.Store(0)
				reached = calls.Load() > int64(step)
				if err == nil && reached {
					endsByItself(t, r, broken)
					return
				}
				if err != nil {
					if !errors.Is(err, broken) {
						t.Errorf("step %d: %v", step, err)
					}
					if h := r.Health(); h.State != replication.StateInitializing {
						t.Errorf("step %d: %+v", step, h)
					}
					err = r.Start(t.Context())
				}
				if err != nil {
					t.Fatalf("step %d, once more: %v", step, err)
				}
				writeOne(t, r)
				if err := r.Shutdown(); err != nil {
					t.Error(err)
				}
			})
			if !reached {
				t.Logf("a start has %d steps", step)
			}
		}
	}
}

// endsByItself is for a disk that failed what a started node does beside its start: the node goes on, or stops loudly.
func endsByItself(t *testing.T, r *replication.RaftReplicator, cause error) {
	t.Helper()
	virtual.Wait()
	switch err := r.Err(); {
	case err == nil:
		writeOne(t, r)
	case !errors.Is(err, replication.ErrStopped) || !errors.Is(err, cause):
		t.Errorf("ended with %v", err)
	}
	if err := r.Shutdown(); err != nil {
		t.Error(err)
	}
}

func startAlone(t *testing.T, c *replication.Config, s replication.Storage) *replication.RaftReplicator {
	t.Helper()
	r, err := replication.NewRaftReplicator(c, s)
	if err != nil {
		t.Fatal(err)
	}
	r.SetTransport(memory.NewNetwork(clock.Real, 1).Node("us-1"))
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func writeOne(t *testing.T, r *replication.RaftReplicator) {
	t.Helper()
	if err := r.Apply(&replication.Command{Data: fmt.Appendf(nil, "x")}, time.Minute); err != nil {
		t.Error(err)
	}
}

// TestANodeGoesOnWithWhatIsDurable: a process was killed before it had synced the name of a rescue file. The next one
// takes the tail for saved, and gives up what is in it: a power cut must not take it away any more.
func TestANodeGoesOnWithWhatIsDurable(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashableMem()
		c := alone()
		c.FS = pebblefs.New(disk)
		once := startAlone(t, c, &ledger{})
		writeOne(t, once)
		if err := once.Shutdown(); err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(c.DataDir, "rescue")
		file := filepath.Join(folder, "tail.rescue")
		if err := c.FS.MkdirAll(folder); err != nil {
			t.Fatal(err)
		}
		f, err := c.FS.Create(file)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		again := startAlone(t, c, &ledger{})
		after := pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{}))
		if _, err := after.Stat(file); err != nil {
			t.Errorf("after a power cut: %v", err)
		}
		if err := again.Shutdown(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestALogOfAnotherDirectoryIsRefused: what is in it was agreed on by others, or in another region, and its vote is
// another node's. So is an empty one; and after both the log that the directory had is taken again.
func TestALogOfAnotherDirectoryIsRefused(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		used := func(dir string) *replication.Config {
			c := alone()
			c.FS, c.DataDir = pebblefs.New(disk), dir
			r := startAlone(t, c, &ledger{})
			writeOne(t, r)
			if err := r.Shutdown(); err != nil {
				t.Fatal(err)
			}
			return c
		}
		used("/one")
		c := used("/other")
		right := filepath.Join(c.DataDir, "right")
		err := errors.Join(disk.Rename(filepath.Join(c.DataDir, "wal"), right), copyAll(disk, "/one/wal", "/other/wal"))
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{"is another one", "neither log nor state"} {
			r, err := replication.NewRaftReplicator(c, &ledger{})
			if err != nil {
				t.Fatal(err)
			}
			r.SetTransport(memory.NewNetwork(clock.Real, 1).Node("us-1"))
			if err = r.Start(t.Context()); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("started: %v, want that it says %q", err, words)
			}
			err = errors.Join(r.Shutdown(), disk.RemoveAll(filepath.Join(c.DataDir, "wal")))
			if err != nil {
				t.Fatal(err)
			}
		}
		err = disk.Rename(right, filepath.Join(c.DataDir, "wal"))
		if err != nil {
			t.Fatal(err)
		}
		again := startAlone(t, c, &ledger{})
		writeOne(t, again)
		if err := again.Shutdown(); err != nil {
			t.Error(err)
		}
	})
}

// copyAll copies a directory of files.
func copyAll(disk *vfs.MemFS, from, to string) error {
	names, err := disk.List(from)
	if err != nil {
		return err
	}
	err = disk.MkdirAll(to, 0o700)
	for _, name := range names {
		err = errors.Join(err, vfs.Copy(disk, filepath.Join(from, name), filepath.Join(to, name)))
	}
	return err
}

// unsound is a storage of which the first call fails, and which says then that all is well.
type unsound struct {
	*ledger
	with error
}

func (u *unsound) Load() (*replication.Metadata, error) {
	if err := u.with; err != nil {
		u.with = nil
		return nil, err
	}
	return u.ledger.Load()
}

// TestAStorageThatFailedAStartGetsNoOther, whatever it says then.
func TestAStorageThatFailedAStartGetsNoOther(t *testing.T) {
	for _, failed := range []error{syscall.EIO, syscall.ENOSPC} {
		r, err := replication.NewRaftReplicator(alone(), &unsound{&ledger{}, failed})
		if err != nil {
			t.Fatal(err)
		}
		r.SetTransport(memory.NewNetwork(clock.Real, 1).Node("us-1"))
		for _, which := range []string{"first", "second"} {
			if err := r.Start(t.Context()); !errors.Is(err, failed) {
				t.Errorf("the %s start says %v", which, err)
			}
		}
		if err := r.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}
