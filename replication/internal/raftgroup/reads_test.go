package raftgroup

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Invariant 2: while leadership is moved, members crash and links are cut, no read returns a point before what was
// acknowledged when it was asked for.
func TestReadIndexIsLinearizable(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		c.net.SetDelay("", "", time.Millisecond, 2*time.Millisecond)
		var acknowledged maximum
		var running sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for id, m := range c.members {
			for range 3 {
				g := m.group
				running.Go(func() {
					for ctx.Err() == nil {
						floor := acknowledged.get()
						index, err := g.ReadIndex(ctx)
						time.Sleep(time.Duration(id) * 100 * time.Microsecond)
						if err == nil && index < floor {
							t.Errorf("member %d read at %d, %d was acknowledged before", m.id, index, floor)
						}
					}
				})
			}
			g, machine := m.group, m.machine
			running.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					term := g.Status().Term
					index, err := g.Propose(ctx, term, [][]byte{fmt.Append(nil, m.id, i)})
					if err != nil {
						time.Sleep(3 * time.Millisecond)
						continue
					}
					for ctx.Err() == nil && g.Applied() < index && g.Status().Term == term {
						time.Sleep(time.Millisecond)
					}
					if machine.holds(index, term) {
						acknowledged.raise(index)
					}
				}
			})
		}
		for i := range 30 {
			l := c.leader()
			switch i % 3 {
			case 0:
				_ = l.group.TransferLeader(ctx, l.id%3+1)
			case 1:
				c.net.Isolate(l.addr)
				c.await("another leader", func() bool { return l.group.Status().Leader != l.id })
				time.Sleep(300 * time.Millisecond)
				c.net.Reconnect(l.addr)
			default:
				time.Sleep(50 * time.Millisecond)
			}
		}
		cancel()
		running.Wait()
		if acknowledged.get() < 100 {
			t.Errorf("only %d entries were written", acknowledged.get())
		}
	})
}

type maximum struct {
	mu    sync.Mutex
	value uint64
}

func (m *maximum) get() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.value
}

func (m *maximum) raise(to uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value = max(m.value, to)
}

func (m *machine) holds(index, term uint64) bool {
	for _, r := range m.records() {
		if r.Index == index {
			return r.Term == term
		}
	}
	return false
}

// The only member forgets in a power cut what it knew to be committed, for commits are not synced. A read right after
// the restart must wait until it knows again.
func TestReadAfterRestartOfOnlyMember(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.close()
		m := c.start(1)
		c.write("x")
		acknowledged := m.group.Applied()
		clone := m.disk.CrashClone(vfs.CrashCloneCfg{})
		c.net.Crash(m.addr)
		c.end(m)
		m.disk = clone
		c.start(1)
		if index, err := m.group.ReadIndex(t.Context()); err != nil || index < acknowledged {
			t.Errorf("read at %d, %v; %d was acknowledged", index, err, acknowledged)
		}
	})
}

// Reads that come together share a round, and a round that is lost is asked again.
func TestReadsShareRounds(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		c.net.SetDelay("", "", 10*time.Millisecond, 0)
		l := c.leader()
		follower := c.members[l.id%3+1].group
		c.await("the follower to know the leader", func() bool { return follower.Status().Leader == l.id })
		var running sync.WaitGroup
		for range 100 {
			running.Go(func() {
				for range 5 {
					if _, err := follower.ReadIndex(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		running.Wait()
		if rounds := follower.loop.reads.last; rounds > 20 {
			t.Errorf("500 reads took %d rounds", rounds)
		}
		c.net.Isolate(c.members[l.id%3+1].addr)
		time.AfterFunc(100*time.Millisecond, func() { c.net.Reconnect(c.members[l.id%3+1].addr) })
		if _, err := follower.ReadIndex(t.Context()); err != nil {
			t.Error(err)
		}
		c.net.Isolate(c.members[l.id%3+1].addr)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := follower.ReadIndex(ctx); err != context.DeadlineExceeded {
			t.Errorf("read of an isolated member: %v", err)
		}
	})
}

// While there is no leader no round begins: who asks no more is forgotten all the same.
func TestReadsThatNobodyWaitsForAreForgotten(t *testing.T) {
	r := newReads(1)
	ctx, cancel := context.WithCancel(t.Context())
	r.waiting = append(r.waiting, &read{ctx: ctx}, &read{ctx: t.Context()})
	cancel()
	r.tick(10)
	if len(r.waiting) != 1 || r.waiting[0].ctx != t.Context() {
		t.Errorf("%d wait of whom one has left", len(r.waiting)-1)
	}
}
