package raftgroup

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// TestNobodyLeadsWhoLacksWhatIsAgreed: two of three agree on what the third is away from; the disk of one of them
// loses it, and that one learns at its start, of the other, how far they had agreed. While the other is away, neither
// of those that lack it is elected by the two of them; when it is back, nothing is lost.
func TestNobodyLeadsWhoLacksWhatIsAgreed(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var upTo [4]atomic.Uint64
		said := new(bytes.Buffer)
		c := newCluster(t, 3)
		c.tune = func(config *Config) {
			config.Agreed = upTo[config.ID].Load
			config.Logger = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelError}))
		}
		c.startAll()
		defer c.close()
		c.write("all have it")
		c.converge()
		l := c.leader()
		late, loses := c.members[l.id%3+1], c.members[(l.id+1)%3+1]
		old := loses.disk.CrashClone(vfs.CrashCloneCfg{})
		c.stop(late.id)
		for i := range 20 {
			c.write(fmt.Sprint(i))
		}
		agreed := l.group.Account(loses.id, 0).Committed
		c.crash(loses.id)
		loses.disk = old
		upTo[loses.id].Store(agreed)
		c.stop(l.id)
		c.start(late.id)
		c.start(loses.id)
		time.Sleep(time.Minute)
		for _, m := range []*member{late, loses} {
			if s := m.group.Status(); s.Leader != 0 {
				t.Fatalf("%d is led by %d, and all up to entry %d was agreed, which %d has alone",
					m.id, s.Leader, agreed, l.id)
			}
		}
		if n := strings.Count(said.String(), "nobody leads, and this node votes for nobody who lacks"); n != 1 {
			t.Errorf("told %d times", n)
		}
		c.start(l.id)
		c.await("who has it leads", func() bool { return c.leader() == l })
		c.write("after")
		c.converge()
	})
}

// TestWhoHasWhatIsAgreedIsElected: what was agreed on keeps nobody away who has it, and who lacks it is given it.
func TestWhoHasWhatIsAgreedIsElected(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var upTo atomic.Uint64
		c := newCluster(t, 3)
		c.tune = func(config *Config) { config.Agreed = upTo.Load }
		c.startAll()
		defer c.close()
		c.write("all have it")
		c.converge()
		l := c.leader()
		late := c.members[l.id%3+1]
		c.stop(late.id)
		for i := range 20 {
			c.write(fmt.Sprint(i))
		}
		upTo.Store(l.group.Account(late.id, 0).Committed)
		for id := range c.members {
			c.stop(id)
		}
		for id := range c.members {
			c.start(id)
		}
		c.write("after")
		c.converge()
		c.stop(c.leader().id)
		c.write("by who lacked it too")
	})
}
