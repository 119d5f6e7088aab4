package raftgroup

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// hearsay is what a member heard of the others since it started, as the owner of a group keeps it.
type hearsay struct {
	mu          sync.Mutex
	self        uint64
	until       time.Time
	heard       []uint64
	index, term uint64 // the furthest end of a log
	parted      []uint64
}

// tuned has each member of c wait for so long at its start for those that it has not heard.
func tuned(c *cluster, patience time.Duration) map[uint64]*hearsay {
	all := map[uint64]*hearsay{}
	c.tune = func(config *Config) {
		h := &hearsay{self: config.ID, until: time.Now().Add(patience)}
		all[config.ID] = h
		config.Awaits, config.Perhaps, config.Parted = h.awaits, h.perhaps, h.isParted
	}
	return all
}

func (h *hearsay) awaits(voters []uint64) (awaits, over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	lacks := slices.ContainsFunc(voters, func(id uint64) bool { return id != h.self && !slices.Contains(h.heard, id) })
	waits := time.Now().Before(h.until)
	return lacks && waits, lacks && !waits
}

func (h *hearsay) perhaps() (index, term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().After(h.until) {
		return 0, 0
	}
	return h.index, h.term
}

func (h *hearsay) isParted(id uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.parted, id)
}

func (h *hearsay) part(ids ...uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parted = ids
}

// hear has it know what these members say.
func (h *hearsay) hear(said ...*member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range said {
		a := m.group.Account(h.self, 0)
		if h.heard = append(h.heard, m.id); a.LastTerm > h.term || a.LastTerm == h.term && a.Last > h.index {
			h.index, h.term = a.Last, a.LastTerm
		}
	}
}

// powerCut has two of three members agree on 20 entries without the third, in a term of their own, takes the power from
// all, and from one of the two the entries and the term. None of them runs. It returns who has them, who lost them, and
// who never had them.
func (c *cluster) powerCut(heard map[uint64]*hearsay) (has, lost, late *member) {
	c.t.Helper()
	c.write("all have it")
	c.converge()
	has = c.leader()
	late, lost = c.members[has.id%3+1], c.members[(has.id+1)%3+1]
	old := lost.disk.CrashClone(vfs.CrashCloneCfg{})
	c.stop(late.id)
	c.stop(has.id) // so that they agree in a term that the disk forgets too, and the others lead again
	c.start(has.id)
	heard[has.id].hear(lost)
	heard[has.id].hear(late)
	for i := range 20 {
		c.write(fmt.Sprint(i))
	}
	c.crash(has.id)
	c.crash(lost.id)
	lost.disk = old
	return has, lost, late
}

// TestWhoMayHaveMoreIsWaitedFor: the power of all is cut, and one disk loses what it had synced. Who has it starts
// later than the others, and nothing is lost, though it does not know itself that the last entry was agreed on.
func TestWhoMayHaveMoreIsWaitedFor(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		heard := tuned(c, 10*time.Second)
		c.startAll()
		for _, h := range heard {
			h.hear(c.members[1], c.members[2], c.members[3])
		}
		defer c.close()
		has, lost, late := c.powerCut(heard)
		c.start(late.id)
		c.start(lost.id)
		heard[late.id].hear(lost)
		heard[lost.id].hear(late)
		time.Sleep(8 * time.Second)
		for _, m := range []*member{late, lost} {
			if s := m.group.Status(); s.Leader != 0 {
				t.Fatalf("%d is led by %d, and what %d may have is not known", m.id, s.Leader, has.id)
			}
		}
		c.start(has.id)
		if a := has.group.Account(0, 0); a.Committed >= a.Last {
			t.Fatalf("it knows that entry %d of %d was agreed on", a.Committed, a.Last)
		}
		heard[has.id].hear(lost, late)
		heard[late.id].hear(has)
		heard[lost.id].hear(has)
		c.await("who has it leads", func() bool { return c.leader() == has })
		c.write("after")
		c.converge()
		for i := range 20 {
			if len(c.history.where(fmt.Sprint(i))) == 0 {
				t.Errorf("write %d is lost", i)
			}
		}
	})
}

// TestTheWaitIsBounded: who may have more does not come. The others lead, in a term that it has not seen, so that it
// finds out when it comes: their history is another one, and raft would take entries of one term for the same.
func TestTheWaitIsBounded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		heard := tuned(c, 10*time.Second)
		c.startAll()
		for _, h := range heard {
			h.hear(c.members[1], c.members[2], c.members[3])
		}
		defer c.close()
		has, lost, late := c.powerCut(heard)
		c.history = newHistory() // the group has another one from here on
		c.start(late.id)
		c.start(lost.id)
		began := time.Now()
		heard[late.id].hear(lost)
		heard[lost.id].hear(late)
		for i := range 30 {
			c.write(fmt.Sprint("without ", i))
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("nobody led for %v", took)
		}
		if l := c.leader().group.Status(); l.Term <= leapTerms {
			t.Errorf("it leads term %d, which another one may have led", l.Term)
		}
		c.await("both have it", func() bool { return late.group.Applied() == lost.group.Applied() })
		c.history = newHistory() // who comes has the former one
		c.start(has.id)
		c.await("who comes finds out", func() bool { return len(has.fatal) > 0 })
		if err := <-has.fatal; !errors.Is(err, ErrRegionLost) {
			t.Errorf("it stopped because of %v", err)
		}
		c.end(has)
	})
}

// TestWhoFollowsALeaderIsSettled: a member that starts beside a leader waits for nobody any more, and where all were
// heard nobody goes to a term that is far away.
func TestWhoFollowsALeaderIsSettled(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		heard := tuned(c, time.Hour)
		c.startAll()
		for _, h := range heard {
			h.hear(c.members[1], c.members[2], c.members[3])
		}
		defer c.close()
		c.write("all have it")
		c.converge()
		l := c.leader()
		again, gone := c.members[l.id%3+1], c.members[(l.id+1)%3+1]
		c.stop(gone.id)
		c.stop(again.id)
		c.start(again.id) // it hears neither, and the leader comes first
		c.write("with it")
		c.converge()
		began := time.Now()
		c.start(gone.id)
		heard[gone.id].hear(again)
		c.write("with all")
		c.converge()
		c.stop(l.id)
		c.write("without it")
		if took := time.Since(began); took > time.Minute {
			t.Errorf("nobody led for %v", took)
		}
		if s := c.leader().group.Status(); s.Term > leapTerms {
			t.Errorf("in term %d", s.Term)
		}
	})
}

// TestWhoIsOfAnotherHistoryIsNotVotedFor, however long its log and late its term.
func TestWhoIsOfAnotherHistoryIsNotVotedFor(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		heard := tuned(c, 0)
		c.startAll()
		defer c.close()
		c.write("all have it")
		c.converge()
		l := c.leader()
		c.stop(l.id%3 + 1)
		c.write("two have it")
		last := c.members[(l.id+1)%3+1]
		c.stop(l.id)
		c.stop(last.id)
		c.start(l.id%3 + 1)
		c.start(last.id)
		heard[l.id%3+1].part(last.id)
		time.Sleep(time.Minute)
		if s := last.group.Status(); s.Leader != 0 {
			t.Errorf("led by %d, and who has less does not vote for who has more", s.Leader)
		}
		heard[l.id%3+1].part()
		c.write("after")
	})
}
