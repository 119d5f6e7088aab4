package lease

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/clock"
)

// change applies grants and revocations to a table, as a batch does.
func change(t *Table, f func(e *Edit)) {
	e := t.Edit()
	f(&e)
	t.Publish(&e, func() {})
}

func grant(t *Table, id, ttl int64) { change(t, func(e *Edit) { e.Grant(id, ttl) }) }

// proposer is a stand-in for the log: it applies revocations at once, unless it is told to fail.
type proposer struct {
	mu      sync.Mutex
	table   *Table
	fail    bool
	calls   int
	running int
	most    int
	slow    time.Duration
}

func (p *proposer) expire(ctx context.Context, id int64) error {
	p.mu.Lock()
	p.calls++
	p.running++
	p.most = max(p.most, p.running)
	slow := p.slow
	p.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if p.fail || ctx.Err() != nil {
		return errors.New("not now")
	}
	change(p.table, func(e *Edit) { e.Revoke(id) })
	return nil
}

func (p *proposer) setFail(fail bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func withLessor(t *testing.T, f func(t *testing.T, n *Table, p *proposer, l *Lessor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewTable(Set{})
		p := &proposer{table: n}
		l := NewLessor(n, clock.Real, p.expire)
		f(t, n, p, l)
		sound(t, l)
		l.Close()
		sound(t, l)
	})
}

// sound waits until nothing runs, and checks the lessor.
func sound(t *testing.T, l *Lessor) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.valid(); err != nil {
		t.Error(err)
	}
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// A lease never expires early because the primary moved (invariant 12).
func TestPromotionGivesFullTimeToLive(t *testing.T) {
	withLessor(t, func(t *testing.T, n *Table, p *proposer, l *Lessor) {
		grant(n, 1, 10)
		l.Promote()
		time.Sleep(9 * time.Second)
		l.Demote()
		time.Sleep(time.Hour)
		sound(t, l)
		expect(t, "nothing expires elsewhere", n.Len(), 1)
		l.Promote()
		time.Sleep(10*time.Second - time.Millisecond)
		sound(t, l)
		expect(t, "just before", n.Len(), 1)
		time.Sleep(2 * time.Millisecond)
		sound(t, l)
		expect(t, "just after", n.Len(), 0)
	})
}

func TestRevocationIsRetriedAndBounded(t *testing.T) {
	withLessor(t, func(t *testing.T, n *Table, p *proposer, l *Lessor) {
		const leases = 3 * maxExpiring
		for id := int64(1); id <= leases; id++ {
			grant(n, id, 5)
		}
		p.slow = 10 * time.Millisecond
		p.setFail(true)
		l.Promote()
		time.Sleep(5*time.Second + 5*time.Millisecond)
		sound(t, l) // in the middle of the first
		time.Sleep(495 * time.Millisecond)
		sound(t, l)
		expect(t, "tried once", p.calls, leases)
		expect(t, "at a time", p.most, maxExpiring)
		expect(t, "all still there", n.Len(), leases)
		if _, err := l.Renew(1); !errors.Is(err, command.ErrLeaseNotFound) {
			t.Errorf("a lease whose revocation may be under way was renewed: %v", err)
		}
		if left, granted, err := l.TimeToLive(1); left != -1 || granted != 5 || err != nil {
			t.Errorf("its time to live: %d of %d, %v", left, granted, err)
		}
		p.setFail(false)
		time.Sleep(2 * time.Second)
		sound(t, l)
		expect(t, "gone in the end", n.Len(), 0)
	})
}

// TestRevocationOfAnEarlierPromotionIsNoLonger demotes and promotes while a revocation is under way.
func TestRevocationOfAnEarlierPromotionIsNoLonger(t *testing.T) {
	withLessor(t, func(t *testing.T, n *Table, p *proposer, l *Lessor) {
		grant(n, 1, 5)
		p.slow = time.Minute
		l.Promote()
		time.Sleep(6 * time.Second)
		sound(t, l)
		l.Demote() // and the attempt fails
		l.Promote()
		sound(t, l)
		expect(t, "still there", n.Len(), 1)
		if ttl, err := l.Renew(1); ttl != 5 || err != nil {
			t.Errorf("with a new time to live: %d, %v", ttl, err)
		}
	})
}

func TestRevokedAndReplacedLeases(t *testing.T) {
	withLessor(t, func(t *testing.T, n *Table, p *proposer, l *Lessor) {
		change(n, func(e *Edit) {
			e.Grant(1, 5)
			e.Grant(2, 50)
			expect(t, "granted in the same batch", e.Has(1), true)
			e.Revoke(2)
			expect(t, "revoked in the same batch", e.Has(2), false)
		})
		expect(t, "leases", n.Len(), 1)
		l.Promote()
		change(n, func(e *Edit) { e.Revoke(1) })
		time.Sleep(10 * time.Second)
		sound(t, l)
		expect(t, "a revoked lease is not revoked again", p.calls, 0)
		n.Replace(Set{1: 5, 3: 7}, func() {})
		sound(t, l)
		if ttl, err := l.Renew(1); ttl != 5 || err != nil {
			t.Errorf("lease of the new content: %d, %v", ttl, err)
		}
		ttl, ok := n.TTL(3)
		expect(t, "in the table", ttl, 7)
		expect(t, "and there", ok, true)
		expect(t, "by ID", n.All()[1], Lease{ID: 3, TTL: 7})
		l.Close()
		if _, err := l.Renew(1); !errors.Is(err, ErrNotLessor) {
			t.Errorf("closed: %v", err)
		}
		l.Promote()
		if _, err := l.Renew(1); !errors.Is(err, ErrNotLessor) {
			t.Errorf("promoted after it was closed: %v", err)
		}
	})
}

// TestPublishedInOneStep reads a table while it changes: what show made visible and the table agree.
func TestPublishedInOneStep(t *testing.T) {
	n := NewTable(Set{})
	shown := int64(0) // how many leases there are, guarded by the table
	var done sync.WaitGroup
	done.Go(func() {
		for id := int64(1); id <= 1000; id++ {
			e := n.Edit()
			e.Grant(id, 5)
			n.Publish(&e, func() { shown = id })
		}
	})
	for last := 0; last < 1000; {
		n.mu.Lock()
		if int64(len(n.leases)) != shown {
			t.Errorf("%d leases, %d were shown", len(n.leases), shown)
		}
		last = len(n.leases)
		n.mu.Unlock()
	}
	done.Wait()
}
