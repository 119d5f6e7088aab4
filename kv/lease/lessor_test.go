package lease

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
)

// change applies grants and revocations to a table, as a batch does.
func change(t *Table, f func(e *Edit)) {
	e := t.Edit()
	f(&e)
	t.Publish(&e, func() {})
}

func grant(t *Table, id, ttl int64) { change(t, func(e *Edit) { e.Grant(id, ttl) }) }

// tenure is that of a lessor in tests.
var tenure = contract.Tenure{Term: 2, Epoch: 1}

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

func (p *proposer) expire(ctx context.Context, _ contract.Tenure, id int64) error {
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
	virtual.Test(t, func(t *testing.T) {
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
	virtual.Wait()
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
		l.Promote(tenure)
		time.Sleep(9 * time.Second)
		l.Demote()
		time.Sleep(time.Hour)
		sound(t, l)
		expect(t, "nothing expires elsewhere", n.Len(), 1)
		l.Promote(tenure)
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
		l.Promote(tenure)
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
		if left, granted, err := l.TimeToLive(1); left != 0 || granted != 5 || err != nil {
			t.Errorf("its time to live, as its end may not come about: %d of %d, %v", left, granted, err)
		}
		p.setFail(false)
		time.Sleep(2 * time.Second)
		sound(t, l)
		expect(t, "gone in the end", n.Len(), 0)
	})
}

// Revocations that hang, applied or not, hold no other lease up.
func TestRevocationsThatHangHoldNoOtherUp(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := NewTable(Set{})
		l := NewLessor(n, clock.Real, func(ctx context.Context, _ contract.Tenure, id int64) error {
			if id <= maxExpiring {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			change(n, func(e *Edit) { e.Revoke(id) })
			return nil
		})
		defer l.Close()
		for id := range int64(maxExpiring) {
			grant(n, id+1, 5)
		}
		grant(n, maxExpiring+1, 6)
		l.Promote(tenure)
		time.Sleep(5*time.Second + 2*expireTime)
		sound(t, l)
		expect(t, "leases that are left", n.Len(), maxExpiring)
	})
}

// TestRevocationOfAnEarlierPromotionIsNoLonger demotes and promotes while a revocation is under way.
func TestRevocationOfAnEarlierPromotionIsNoLonger(t *testing.T) {
	withLessor(t, func(t *testing.T, n *Table, p *proposer, l *Lessor) {
		grant(n, 1, 5)
		p.slow = time.Minute
		l.Promote(tenure)
		time.Sleep(6 * time.Second)
		sound(t, l)
		l.Demote() // and the attempt fails
		l.Promote(tenure)
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
		l.Promote(tenure)
		change(n, func(e *Edit) { e.Revoke(1) })
		time.Sleep(10 * time.Second)
		sound(t, l)
		expect(t, "a revoked lease is not revoked again", p.calls, 0)
		n.Replace(Set{1: {TTL: 5}, 3: {TTL: 7}}, func() {})
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
		l.Promote(tenure)
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

// Each decision carries the tenure that it was made in.
func TestDecisionsCarryTheirTenure(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := NewTable(Set{})
		var decided []contract.Tenure
		l := NewLessor(n, clock.Real, func(ctx context.Context, in contract.Tenure, _ int64) error {
			decided = append(decided, in)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		defer l.Close()
		grant(n, 1, 5)
		later := contract.Tenure{Term: 7, Epoch: 3}
		for _, in := range []contract.Tenure{tenure, later} {
			l.Promote(in)
			time.Sleep(6 * time.Second)
			sound(t, l)
			l.Demote()
		}
		if !slices.Equal(decided, []contract.Tenure{tenure, later}) {
			t.Errorf("decided in %+v", decided)
		}
	})
}

// L3: a lease whose end has begun ends, whoever keeps it then: it has no time to live any more, and is not kept alive.
func TestALeaseWhoseEndHasBegunEnds(t *testing.T) {
	withLessor(t, func(t *testing.T, n *Table, p *proposer, l *Lessor) {
		begin := func(id int64) { change(n, func(e *Edit) { e.End(id) }) }
		dead := func(when string, id int64) {
			t.Helper()
			if _, err := l.Renew(id); !errors.Is(err, command.ErrLeaseNotFound) {
				t.Errorf("%s: renewed: %v", when, err)
			}
			if left, ttl, err := l.TimeToLive(id); left != -1 || ttl != 100 || err != nil {
				t.Errorf("%s: %d of %d left, %v", when, left, ttl, err)
			}
		}
		grant(n, 1, 100)
		grant(n, 2, 100)
		begin(1)
		begin(3) // which nobody has
		p.setFail(true)
		l.Promote(tenure)
		dead("at who takes over", 1)
		virtual.Wait()
		dead("while it fails", 1)
		begin(2)
		dead("begun by somebody else", 2)
		n.Hold(true)
		dead("held", 1)
		n.Hold(false)
		n.Replace(Set{1: {TTL: 100, Ending: true}, 2: {TTL: 100}}, func() {})
		dead("in another content", 1)
		if ttl, err := l.Renew(2); ttl != 100 || err != nil {
			t.Errorf("in another content, whose end has not begun: %d, %v", ttl, err)
		}
		p.setFail(false)
		time.Sleep(2 * expireRetry)
		virtual.Wait()
		expect(t, "leases left", n.Len(), 1)
		change(n, func(e *Edit) { e.Grant(1, 100); e.End(1); e.Revoke(1); e.Grant(1, 50) })
		if ttl, err := l.Renew(1); ttl != 50 || err != nil {
			t.Errorf("granted anew: %d, %v", ttl, err)
		}
		change(n, func(e *Edit) { e.Grant(4, 100); e.End(4) })
		virtual.Wait()
		expect(t, "granted and begun to end in one batch", n.Len(), 2)
	})
}

// An end in several steps goes on only for as long as its lease is the one whose end was decided: not once that is
// revoked, granted anew, or in another content.
func TestAnEndStopsWithItsLease(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n, begun, ended := NewTable(Set{}), make(chan struct{}), make(chan error)
		l := NewLessor(n, clock.Real, func(ctx context.Context, _ contract.Tenure, _ int64) error {
			begun <- struct{}{} // the first step is applied
			select {
			case <-ctx.Done():
			case <-time.After(expireTime - time.Second):
			}
			ended <- ctx.Err()
			return ctx.Err()
		})
		defer l.Close()
		l.Promote(tenure)
		for what, gone := range map[string]func(){
			"revoked and granted anew": func() {
				change(n, func(e *Edit) { e.Revoke(7) })
				grant(n, 7, 5)
			},
			"granted anew in one batch": func() { change(n, func(e *Edit) { e.Revoke(7); e.Grant(7, 5) }) },
			"revoked":                   func() { change(n, func(e *Edit) { e.Revoke(7) }) },
			"replaced":                  func() { n.Replace(Set{7: {TTL: 5}}, func() {}) },
		} {
			grant(n, 7, 5)
			<-begun
			gone()
			if err := <-ended; err == nil {
				t.Errorf("%s: its end goes on", what)
			}
			virtual.Wait()
			sound(t, l)
			if _, ok := n.TTL(7); ok {
				if _, err := l.Renew(7); err != nil {
					t.Errorf("%s: the later lease is renewed: %v", what, err)
				}
			}
			change(n, func(e *Edit) { e.Revoke(7) })
		}
	})
}
