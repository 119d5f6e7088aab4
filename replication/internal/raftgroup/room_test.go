package raftgroup

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// fullDisks is a cluster of three, and who of them has no room for the log.
func fullDisks(t *testing.T) (c *cluster, fill func(id uint64, full bool)) {
	var mu sync.Mutex
	full := map[uint64]bool{}
	c = newCluster(t, 3)
	c.wrap = func(fs vfs.FS) vfs.FS {
		of := uint64(0)
		for id, m := range c.members {
			if vfs.FS(m.disk) == fs {
				of = id
			}
		}
		return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			grows := op.Kind == errorfs.OpFileWriteAt || op.Kind == errorfs.OpFileWrite ||
				op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpRename
			if full[of] && grows && strings.HasPrefix(filepath.Clean(op.Path), "log") {
				return syscall.ENOSPC
			}
			return nil
		}))
	}
	return c.startAll(), func(id uint64, is bool) {
		mu.Lock()
		defer mu.Unlock()
		full[id] = is
	}
}

// alive fails if a member has stopped itself.
func (c *cluster) alive() {
	c.t.Helper()
	for _, m := range c.members {
		select {
		case err := <-m.fatal:
			c.t.Fatalf("member %d stopped itself: %v", m.id, err)
		default:
		}
	}
}

// A leader whose disk is full loses leadership and nothing else: the others commit without it, it acknowledges nothing
// that it does not have, says why, and goes on as soon as there is room.
func TestFullDiskOfTheLeader(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, fill := fullDisks(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		fill(l.id, true)
		for i := range 20 {
			c.write(fmt.Sprint("while it is full ", i))
			time.Sleep(100 * time.Millisecond)
		}
		if c.leader() == l {
			t.Error("a member with a full disk leads")
		}
		held := l.log.LastIndex()
		if took := l.group.Status().DiskFull; took < time.Second || l.group.Applied() > held {
			t.Errorf("full for %v, applied %d, holds %d", took, l.group.Applied(), held)
		}
		for _, m := range c.members {
			if status := m.group.Status(); status.IsLeader && status.Progress[l.id].Match > held {
				t.Errorf("has acknowledged %d, and holds %d", status.Progress[l.id].Match, held)
			}
		}
		c.alive()
		fill(l.id, false)
		c.write("after")
		c.converge()
		if took := l.group.Status().DiskFull; took != 0 {
			t.Errorf("still full for %v", took)
		}
	})
}

// Where all disks are full nothing is acknowledged, reads are confirmed, and writes go on as soon as a majority has
// room.
func TestFullDisksOfAll(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, fill := fullDisks(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		for id := range c.members {
			fill(id, true)
		}
		accepted, err := l.group.Propose(t.Context(), l.group.Status().Term, [][]byte{[]byte("waits")})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if at, err := c.leader().group.ReadIndex(t.Context()); err != nil || at > l.log.LastIndex() {
			t.Errorf("a read of %d: %v", at, err)
		}
		c.alive()
		if l.group.Applied() >= accepted {
			t.Fatal("acknowledged, and on no disk")
		}
		for id := range c.members {
			if id != l.id {
				fill(id, false)
			}
		}
		c.write("after")
		fill(l.id, false)
		c.converge()
	})
}

// A member that waits for room can be stopped, and starts once there is some.
func TestAMemberThatWaitsForRoomStops(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, fill := fullDisks(t)
		defer c.close()
		c.write("before")
		id := c.leader().id
		fill(id, true)
		c.write("while it is full")
		time.Sleep(time.Second)
		c.stop(id)
		c.alive()
		fill(id, false)
		c.start(id)
		c.write("after")
		c.converge()
	})
}

// A member whose disk is full for long is sent appends all the time, and keeps no more of them than it had when its
// disk was found stuck: it takes part again once there is room.
func TestAFullDiskGathersNoAppends(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, fill := fullDisks(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		m := c.members[l.id%3+1]
		fill(m.id, true)
		waiting := func() int {
			q := m.group.writer.tasks
			q.mu.Lock()
			defer q.mu.Unlock()
			return len(q.items)
		}
		c.write("while it is full")
		time.Sleep(time.Second)
		few := waiting()
		for i := range 20 {
			c.write(fmt.Sprint("for a minute ", i))
			time.Sleep(3 * time.Second)
		}
		if n := waiting(); n > few+5 {
			t.Errorf("%d tasks wait for the disk, %d did after a second", n, few)
		}
		if c.leader() != l || m.group.Status().Leader != l.id {
			t.Errorf("led by %d, was by %d", m.group.Status().Leader, l.id)
		}
		c.alive()
		fill(m.id, false)
		c.write("after")
		c.converge()
	})
}
