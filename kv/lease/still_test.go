package lease

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// standing is a clock that goes on while the process, and its timers, stand still.
type standing struct {
	clock.Clock
	still  atomic.Int64 // for how long, in all
	before atomic.Int64 // readings until it stands still for 20 s once more
}

func (c *standing) Now() time.Time {
	now := c.Clock.Now().Add(time.Duration(c.still.Load()))
	if c.before.Add(-1) == 0 {
		c.still.Add(int64(20 * time.Second))
	}
	return now
}

// The time for which the process stood still counts for no lease: it may have been renewed, and who renews it now is in
// time.
func TestAProcessThatStoodStillExpiresNothing(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n, c := NewTable(Set{}), &standing{Clock: clock.Real}
		p := &proposer{table: n}
		l := NewLessor(n, c, p.expire)
		defer l.Close()
		l.Promote(tenure)
		for id := range int64(50) {
			grant(n, id+1, 12)
		}
		time.Sleep(4*time.Second + 100*time.Millisecond)
		c.still.Add(int64(20 * time.Second))
		if _, err := l.Renew(1); err != nil {
			t.Errorf("a lease that is due and not revoked: %v", err)
		}
		time.Sleep(7 * time.Second)
		sound(t, l)
		expect(t, "leases 11 s after their grant, but for what stood still", n.Len(), 50)
		time.Sleep(2 * time.Second)
		sound(t, l)
		expect(t, "leases 13 s after their grant", n.Len(), 1)
		time.Sleep(20 * time.Second)
		sound(t, l)
		expect(t, "the one that was renewed", n.Len(), 0)
	})
}

// Nor does it count wherever in its turn the lessor stood still, or before its first one.
func TestStandingStillIsNoticedAnywhere(t *testing.T) {
	lives := func(what string, begin func(n *Table, l *Lessor, c *standing)) {
		t.Run(what, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				n, c := NewTable(Set{}), &standing{Clock: clock.Real}
				p := &proposer{table: n}
				l := NewLessor(n, c, p.expire)
				defer l.Close()
				began := time.Now()
				begin(n, l, c)
				time.Sleep(time.Until(began.Add(11 * time.Second)))
				sound(t, l)
				expect(t, "leases 11 s after their grant, but for what stood still", n.Len(), 1)
				time.Sleep(2 * time.Second)
				sound(t, l)
				expect(t, "leases 13 s after it", n.Len(), 0)
			})
		})
	}
	for readings := range int64(4) {
		lives(fmt.Sprint("behind reading ", readings+1), func(n *Table, l *Lessor, c *standing) {
			l.Promote(tenure)
			grant(n, 1, 12)
			time.Sleep(4*time.Second + 100*time.Millisecond)
			virtual.Wait()
			c.before.Store(readings + 1)
		})
	}
	lives("as it is granted", func(n *Table, l *Lessor, c *standing) {
		l.Promote(tenure)
		virtual.Wait()
		c.before.Store(1)
		grant(n, 1, 12)
	})
	lives("as it is promoted", func(n *Table, l *Lessor, c *standing) {
		grant(n, 1, 12)
		virtual.Wait()
		c.before.Store(1)
		l.Promote(tenure)
	})
}

// A lease whose end was tried in vain is not given the time: it is tried again once the process goes on.
func TestStandingStillPutsOffNoSecondTry(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n, c := NewTable(Set{}), &standing{Clock: clock.Real}
		p := &proposer{table: n}
		p.setFail(true)
		l := NewLessor(n, c, p.expire)
		defer l.Close()
		l.Promote(tenure)
		grant(n, 1, 12)
		time.Sleep(12*time.Second + 100*time.Millisecond)
		virtual.Wait()
		p.setFail(false)
		c.still.Add(int64(20 * time.Second))
		time.Sleep(600 * time.Millisecond)
		sound(t, l)
		expect(t, "leases whose end was tried in vain", n.Len(), 0)
	})
}

// looking is a clock that counts the readings of who has a lessor to himself.
type looking struct {
	clock.Clock
	l     *Lessor
	alone int
}

func (c *looking) Now() time.Time {
	if l := c.l; l != nil {
		if l.mu.TryLock() {
			l.mu.Unlock()
		} else {
			c.alone++
		}
	}
	return c.Clock.Now()
}

// Leases are brought in order without the lessor: who renews, and who applies, waits for a part of them to be looked
// at.
func TestOrderHoldsNobodyUp(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n, c := NewTable(Set{}), &looking{Clock: clock.Real}
		l := NewLessor(n, c, (&proposer{table: n}).expire)
		defer l.Close()
		const parts = 2
		all := make([]Lease, parts*orderPart)
		for i := range all { // of which the lessor knows some
			all[i] = Lease{ID: int64(i + 1), TTL: int64(1000 + i*7919%len(all))}
			if i%100 == 0 {
				grant(n, all[i].ID, all[i].TTL)
			}
		}
		l.Order(all)
		expect(t, "the first, where none are kept", all[0].ID, 1)
		l.Promote(tenure)
		virtual.Wait()
		c.l = l
		l.Order(all)
		c.l = nil
		expect(t, "in order", slices.IsSortedFunc(all, func(a, b Lease) int { return int(a.TTL - b.TTL) }), true)
		if c.alone > parts {
			t.Errorf("the lessor was taken, or the clock read, %d times for %d parts", c.alone, parts)
		}
	})
}
