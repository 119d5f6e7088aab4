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

// wordOfAgreed is what a member was told was agreed on.
type wordOfAgreed struct{ index, term atomic.Uint64 }

func (w *wordOfAgreed) load() (index, term uint64) { return w.index.Load(), w.term.Load() }

// of has it be what this member says.
func (w *wordOfAgreed) of(m *member) {
	a := m.group.Account(0, 0)
	w.index.Store(a.Committed)
	w.term.Store(a.CommittedTerm)
}

// TestNobodyLeadsWhoLacksWhatIsAgreed: two of three agree on what the third is away from; the disk of one of them
// loses it, and that one learns at its start, of the other, how far they had agreed. While the other is away, neither
// of those that lack it is elected by the two of them; when it is back, nothing is lost.
func TestNobodyLeadsWhoLacksWhatIsAgreed(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var upTo [4]wordOfAgreed
		said := new(bytes.Buffer)
		c := newCluster(t, 3)
		c.tune = func(config *Config) {
			config.Agreed = upTo[config.ID].load
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
		upTo[loses.id].of(l)
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
		var upTo wordOfAgreed
		c := newCluster(t, 3)
		c.tune = func(config *Config) { config.Agreed = upTo.load }
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
		upTo.of(l)
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

// TestALongerLogOfAnEarlierTermIsNotWhatIsAgreed: a member has more entries than were agreed on, which it wrote alone
// before another one led. A disk lost the part by which it would have been refused.
func TestALongerLogOfAnEarlierTermIsNotWhatIsAgreed(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var upTo [4]wordOfAgreed
		c := newCluster(t, 3)
		c.tune = func(config *Config) { config.Agreed = upTo[config.ID].load }
		c.startAll()
		defer c.close()
		c.write("all have it")
		c.converge()
		alone := c.leader()
		old := map[uint64]*vfs.MemFS{}
		for id, m := range c.members {
			old[id] = m.disk.CrashClone(vfs.CrashCloneCfg{})
		}
		c.net.Isolate(alone.addr)
		for i := range 40 {
			term := alone.group.Status().Term
			go func() { _, _ = alone.group.Propose(t.Context(), term, [][]byte{fmt.Append(nil, "alone ", i)}) }()
		}
		c.await("it has written them", func() bool { return alone.log.LastIndex() > 40 })
		c.stop(alone.id)
		for i := range 5 {
			c.write(fmt.Sprint(i))
		}
		l := c.leader()
		loses := c.members[6-alone.id-l.id]
		upTo[loses.id].of(l)
		if agreed, _ := upTo[loses.id].load(); agreed >= 40 {
			t.Fatalf("agreed on %d", agreed)
		}
		c.crash(loses.id)
		loses.disk = old[loses.id]
		c.stop(l.id)
		c.net.Reconnect(alone.addr)
		c.start(alone.id)
		c.start(loses.id)
		time.Sleep(time.Minute)
		for _, m := range []*member{alone, loses} {
			if s := m.group.Status(); s.Leader != 0 {
				t.Fatalf("%d is led by %d, which lacks what was agreed on", m.id, s.Leader)
			}
		}
		c.start(l.id)
		c.await("who has it leads", func() bool { return c.leader() == l })
		c.write("after")
		c.converge()
	})
}

// TestWhatTheRegionWentOnWithoutIsOver: the word comes too late, when those that lack the entries have agreed on
// others. Nobody can bring them back, and the members elect each other as ever.
func TestWhatTheRegionWentOnWithoutIsOver(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var upTo wordOfAgreed
		c := newCluster(t, 3)
		c.tune = func(config *Config) { config.Agreed = upTo.load }
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
		c.crash(loses.id)
		loses.disk = old
		c.stop(l.id)
		c.history = newHistory() // the region has another one from here on
		c.start(late.id)
		c.start(loses.id)
		write := func(data string) {
			c.write(data)
			c.await("both have it", func() bool { return late.group.Applied() == loses.group.Applied() })
		}
		write("without")
		upTo.of(l)
		for range 2 {
			first := c.leader()
			c.stop(first.id)
			c.start(first.id)
			write("after " + first.addr)
		}
		if index, term := upTo.load(); c.leader().log.LastIndex() >= index || term == 0 {
			t.Fatalf("the log goes to %d, entry %d of term %d was agreed on", c.leader().log.LastIndex(), index, term)
		}
	})
}

// TestWhoStandsForNobodyToHearSaysWhy: where all members that are up know of more than they have, none of them asks
// another for its vote, and each says why nobody leads.
func TestWhoStandsForNobodyToHearSaysWhy(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var upTo wordOfAgreed
		said := new(bytes.Buffer)
		c := newCluster(t, 3)
		c.tune = func(config *Config) {
			config.Agreed = upTo.load
			config.Logger = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelError}))
		}
		c.start(1)
		c.start(2)
		defer c.close()
		c.write("before")
		upTo.index.Store(100)
		c.stop(1)
		c.stop(2)
		c.start(1)
		c.start(2)
		time.Sleep(time.Minute)
		for id := range uint64(2) {
			if n := strings.Count(said.String(), fmt.Sprintf("agreed=100 candidate=n%d", id+1)); n != 1 {
				t.Errorf("%d says %d times why nobody leads", id+1, n)
			}
		}
		upTo.index.Store(0)
		c.write("after")
	})
}
