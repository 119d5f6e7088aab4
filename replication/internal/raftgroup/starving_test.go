package raftgroup

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// A leader whose machine finds no room gives leadership to one that has some, says how long it lacks it, and may lead
// again. Where nobody has room it does not go round and round.
func TestALeaderThatStarvesHandsOver(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		rooms := map[uint64]*Room{}
		c.tune = func(config *Config) {
			rooms[config.ID] = NewRoom(clock.Real, quiet)
			config.Room = rooms[config.ID]
		}
		c.startAll()
		defer c.close()
		c.write("before")
		l := c.leader()
		if !rooms[l.id].Await(t.Context(), syscall.ENOSPC) {
			t.Fatal("it is not tried again")
		}
		for i := range 10 {
			c.write(fmt.Sprint("while it starves ", i))
			time.Sleep(100 * time.Millisecond)
		}
		if took := l.group.Status().DiskFull; c.leader() == l || took < time.Second {
			t.Errorf("it leads: %t, and says that it lacks room for %v", c.leader() == l, took)
		}
		rooms[l.id].Found()
		if took := l.group.Status().DiskFull; took != 0 {
			t.Errorf("still no room for %v", took)
		}
		for _, r := range rooms {
			r.Await(t.Context(), syscall.ENOSPC)
		}
		before := c.leader().group.Status().Term
		time.Sleep(20 * time.Second)
		if rose := c.leader().group.Status().Term - before; rose > 25 {
			t.Errorf("in 20 s without room anywhere leadership moved %d times", rose)
		}
	})
}
