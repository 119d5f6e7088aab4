package kv

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

func grant(id, ttl int64) []byte {
	return command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: id, TTL: ttl})
}

// tenure is that of a lessor in tests.
var tenure = replication.Tenure{Term: 2, Epoch: 1}

// proposer is a stand-in for the log: it applies revocations at once.
type proposer struct {
	mu      sync.Mutex
	node    *node
	calls   int
	running int
	most    int
	slow    time.Duration
}

func (p *proposer) expire(ctx context.Context, _ replication.Tenure, id int64) error {
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
	if ctx.Err() != nil {
		return errors.New("not now")
	}
	p.node.apply(command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: id}))
	return nil
}

func withLessor(t *testing.T, f func(t *testing.T, n *node, p *proposer, l *lease.Lessor)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		n := newNode(t)
		p := &proposer{node: n}
		l := lease.NewLessor(n.Store, clock.Real, p.expire)
		f(t, n, p, l)
		l.Close()
		n.Close()
	})
}

func TestLeaseExpires(t *testing.T) {
	withLessor(t, func(t *testing.T, n *node, p *proposer, l *lease.Lessor) {
		if _, err := l.Renew(1); !errors.Is(err, lease.ErrNotLessor) {
			t.Errorf("before promotion: %v", err)
		}
		n.apply(grant(1, 10), command.EncodePut(&pb.PutRequest{Key: []byte("a"), Lease: 1}))
		l.Promote(tenure)
		n.apply(grant(2, 20))
		time.Sleep(9 * time.Second)
		remaining, granted, err := l.TimeToLive(1)
		if remaining != 1 || granted != 10 || err != nil {
			t.Errorf("time to live %d of %d, %v", remaining, granted, err)
		}
		if ttl, err := l.Renew(1); ttl != 10 || err != nil {
			t.Errorf("renew: %d, %v", ttl, err)
		}
		time.Sleep(9 * time.Second)
		virtual.Wait()
		expect(t, "leases while renewed", len(n.Leases()), 2)
		time.Sleep(time.Second + time.Millisecond)
		virtual.Wait()
		expect(t, "leases after expiry", len(n.Leases()), 1)
		expect(t, "its key", n.get("a", 0), "-")
		if _, err := l.Renew(1); !errors.Is(err, command.ErrLeaseNotFound) {
			t.Errorf("expired: %v", err)
		}
		time.Sleep(time.Second)
		virtual.Wait()
		expect(t, "the other, 20 s after its grant", len(n.Leases()), 0)
	})
}

func TestRevokedAndReplacedLeases(t *testing.T) {
	withLessor(t, func(t *testing.T, n *node, p *proposer, l *lease.Lessor) {
		n.apply(grant(1, 5), grant(2, 50))
		if err := n.Checkpoint("copy"); err != nil {
			t.Fatal(err)
		}
		l.Promote(tenure)
		n.apply(command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 1}))
		time.Sleep(10 * time.Second)
		virtual.Wait()
		expect(t, "a revoked lease is not revoked again", p.calls, 0)
		if err := n.Install("copy", nil); err != nil {
			t.Fatal(err)
		}
		if ttl, err := l.Renew(1); ttl != 5 || err != nil {
			t.Errorf("lease of the installed content: %d, %v", ttl, err)
		}
	})
}

// partBefore is EncodeLeaseExpiryPart(1, "c") of versions that knew no other parts.
const partBefore = "03121222100a0710041a0163400112051a030a0163c03e01"

// A lease whose end has begun, with a part of its keys, is dead for whoever keeps leases then: after a move, a restart
// and a copy of the content. With its end all of it is gone, and it may be granted anew. A part that versions before
// write says nothing of the kind: they keep the lease alive after it.
func TestALeaseOfWhichAPartIsGoneIsDead(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := newNode(t)
		defer func() { n.Close() }()
		before, err := hex.DecodeString(partBefore)
		if err != nil {
			t.Fatal(err)
		}
		put := func(key string) []byte { return command.EncodePut(&pb.PutRequest{Key: []byte(key), Lease: 1}) }
		n.apply(grant(1, 100), put("a"), put("b"), put("c"), grant(2, 100))
		if err := n.Checkpoint("whole"); err != nil {
			t.Fatal(err)
		}
		n.apply(before)
		if err := n.Checkpoint("before"); err != nil {
			t.Fatal(err)
		}
		n.apply(command.EncodeLeaseExpiryPart(1, [][]byte{[]byte("a")}, command.Begins))
		if err := n.Checkpoint("part"); err != nil {
			t.Fatal(err)
		}
		keeps := func(when string, alive bool) {
			t.Helper()
			l := lease.NewLessor(n.Store, clock.Real, func(context.Context, replication.Tenure, int64) error {
				return errors.New("not now")
			})
			defer l.Close()
			l.Promote(tenure)
			if _, err := l.Renew(1); alive != (err == nil) || !alive && !errors.Is(err, command.ErrLeaseNotFound) {
				t.Errorf("%s: lease 1 is renewed: %v", when, err)
			}
			if _, err := l.Renew(2); err != nil {
				t.Errorf("%s: lease 2 is renewed: %v", when, err)
			}
		}
		keeps("after a move", false)
		again := func() {
			t.Helper()
			if err := errors.Join(n.Sync(), n.Close()); err != nil {
				t.Fatal(err)
			}
			n = openNode(t, n.fs)
		}
		again()
		keeps("after a restart", false)
		if err := n.Install("whole", nil); err != nil {
			t.Fatal(err)
		}
		keeps("in a content of before", true)
		n.apply(before)
		expect(t, "the key of a part of before", n.get("c", 0), "-")
		keeps("after a part of before", true)
		again()
		keeps("after a part of before and a restart", true)
		if err := n.Install("before", nil); err != nil {
			t.Fatal(err)
		}
		keeps("in a copy of after a part of before", true)
		if err := n.Install("part", nil); err != nil {
			t.Fatal(err)
		}
		keeps("in a copy", false)
		n.apply(command.EncodeLeaseExpiry(1, command.GoesOn))
		expect(t, "a key", n.get("b", 0), "-")
		n.apply(grant(1, 100))
		keeps("granted anew", true)
		again()
		keeps("granted anew, after a restart", true)
	})
}

// What goes on with the end of a lease is void for one that was granted anew under its identity, and for one that is
// gone: nothing is deleted, and the lease lives on.
func TestTheEndOfALeaseIsVoidForALaterGrant(t *testing.T) {
	n := newNode(t)
	defer n.Close()
	put := func(key string) []byte { return command.EncodePut(&pb.PutRequest{Key: []byte(key), Lease: 1}) }
	part := func(s command.Step) []byte { return command.EncodeLeaseExpiryPart(1, [][]byte{[]byte("a")}, s) }
	end := command.EncodeLeaseExpiry(1, command.GoesOn)
	void := func(when string, result []byte) {
		t.Helper()
		if _, err := command.DecodeTxnResult(result); !errors.Is(err, command.ErrLeaseNotFound) {
			t.Errorf("%s: %v", when, err)
		}
	}
	results := n.apply(grant(1, 100), put("a"), put("b"), part(command.GoesOn), end)
	void("a part of a lease whose end has not begun", results[3])
	void("the end of a lease whose end has not begun", results[4])
	revoke := command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 1})
	results = n.apply(part(command.Begins), revoke, part(command.Begins), part(command.GoesOn), grant(1, 100), put("a"))
	void("a first part of a lease that is gone", results[2])
	void("a part of a lease that is gone", results[3])
	results = n.apply(part(command.GoesOn), end)
	void("a part of a lease that was granted anew", results[0])
	void("the end of a lease that was granted anew", results[1])
	expect(t, "leases", len(n.Leases()), 1)
	if n.get("a", 0) == "-" {
		t.Error("a key of the later grant is gone")
	}
}

// Whoever asks for the keys of a lease and leaves has none told any more.
func TestAWalkOverTheKeysOfALeaseEndsWithWhoAsked(t *testing.T) {
	n := newNode(t)
	n.apply(grant(1, 60))
	for _, key := range []string{"a", "b", "c", "d"} {
		n.apply(command.EncodePut(&pb.PutRequest{Key: []byte(key), Lease: 1}))
	}
	ctx, leave := context.WithCancel(t.Context())
	seen := 0
	walk := func() error {
		return LeaseKeys{Store: n.Store}.While(ctx)(1, func([]byte) error {
			if seen++; seen == 6 {
				leave()
			}
			return nil
		})
	}
	if err := walk(); err != nil || seen != 4 {
		t.Errorf("%d keys: %v", seen, err)
	}
	if err := walk(); !errors.Is(err, context.Canceled) || seen != 6 {
		t.Errorf("%d keys, the sixth being the last: %v", seen, err)
	}
}
