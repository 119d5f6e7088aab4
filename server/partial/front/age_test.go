package front

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication/clock"
)

// suspended is the machine's clock, which stands still while the machine is suspended, but for the lease clock.
type suspended struct {
	clock.Clock
	total atomic.Int64
	each  atomic.Int64 // for how long it is suspended after each reading
	later atomic.Int64 // by how much it is later, by both clocks
}

func (c *suspended) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.later.Load())) }

func (c *suspended) Elapsed() time.Duration {
	defer c.total.Add(c.each.Load())
	return c.Clock.Elapsed() + time.Duration(c.total.Load()+c.later.Load())
}

const (
	ageTTL   = 1000                                 // seconds, of leases of which no test sees the end
	aWhile   = 5*time.Second + 500*time.Millisecond // of it
	tooLong  = 2 * ageTTL * time.Second             // than it
	leftThen = ageTTL - 5                           // is left at most when aWhile has passed
)

// What the fleet says of a lease is handed on with what is left when it is: less by what that took, and nothing of a
// lease that may have ended meanwhile. Of that one the fleet is asked again, some times.
func TestWhatIsHandedOnOfALeaseIsAsOldAsItIs(t *testing.T) {
	p := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	leases := pb.NewLeaseClient(p.conn)
	p.clock.each.Store(int64(aWhile))
	granted, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 7, TTL: ageTTL})
	if err != nil || granted.TTL > leftThen || granted.TTL <= 0 {
		t.Errorf("granted: %v, %v", granted, err)
	}
	left, err := leases.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 7})
	if err != nil || left.TTL > leftThen || left.TTL <= 0 || left.GrantedTTL != ageTTL {
		t.Errorf("time to live: %v, %v", left, err)
	}
	p.late.Store(1)
	if left, err := leases.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 7}); err != nil || left.TTL <= 0 {
		t.Errorf("time to live, of which its node said nothing was left: %v, %v", left, err)
	}
	p.clock.each.Store(int64(tooLong))
	asks := func() int { n, _ := p.fleet.Replicator.Calls(); return n }
	before := asks()
	if _, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 8, TTL: ageTTL}); status.Code(err) !=
		codes.FailedPrecondition || asks() == before {
		t.Errorf("granted, over by now, and kept alive too late: %v, asked %d times", err, asks()-before)
	}
	left, err = leases.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 7})
	if err != nil || left.TTL != 0 || left.GrantedTTL != ageTTL {
		t.Errorf("time to live, over by now: %v, %v", left, err)
	}
}

// A lease is granted where the answer came so late that nothing is left by it: it is kept alive. And what the fleet
// took is taken from it once: its node says what was left when it sent its answer. What is left of a lease is asked
// again likewise.
func TestAGrantThatTookLongIsGranted(t *testing.T) {
	if got := leftOfGrant(10, 5, 5*time.Second); got != 5 {
		t.Errorf("%d s of 10 are left 5 s after it was asked for", got)
	}
	if got := leftOfGrant(10, 10, 5*time.Second); got != 5 {
		t.Errorf("%d s of 10 are left where the answer was on its way for 5", got)
	}
	if got := leftOfGrant(1, lease.MinTTL, time.Second); got != lease.MinTTL-1 {
		t.Errorf("%d s are left of the least time", got)
	}
	p := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	held, release := p.fleet.Replicator.HoldWrites()
	type result struct {
		*pb.LeaseGrantResponse
		err error
	}
	told := make(chan result, 1)
	go func() {
		r, err := pb.NewLeaseClient(p.conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 7, TTL: ageTTL})
		told <- result{r, err}
	}()
	for held() == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	p.clock.total.Add(int64(tooLong))
	release()
	if r := <-told; r.err != nil || r.TTL < leftThen || r.TTL > ageTTL {
		t.Errorf("granted, and kept alive: %v, %v", r.LeaseGrantResponse, r.err)
	}
	asks := func() int { n, _ := p.fleet.Replicator.Calls(); return n }
	before := asks()
	release = p.fleet.Replicator.HoldAsks()
	left := make(chan int64, 1)
	go func() {
		r, err := pb.NewLeaseClient(p.conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 7})
		if err != nil {
			t.Error(err)
		}
		left <- r.GetTTL()
	}()
	for asks() == before && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	p.clock.total.Add(int64(tooLong))
	release()
	if got := <-left; got <= 0 || asks() != before+2 {
		t.Errorf("%d s are left, and the fleet was asked %d times", got, asks()-before)
	}
}

// Nothing is handed on of a keep-alive whose answer came too late. The fleet is asked again, until it is in time, or
// that goes on for too long.
func TestAKeepAliveThatComesTooLateIsAskedForAgain(t *testing.T) {
	p := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	leases := pb.NewLeaseClient(p.conn)
	if _, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 7, TTL: ageTTL}); err != nil {
		t.Fatal(err)
	}
	alive, err := leases.LeaseKeepAlive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	asked := func() int { n, _ := p.fleet.Replicator.Calls(); return n }
	send := func() {
		t.Helper()
		if err := alive.Send(&pb.LeaseKeepAliveRequest{ID: 7}); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []time.Duration{0, aWhile, tooLong} {
		before := asked()
		release := p.fleet.Replicator.HoldAsks()
		send()
		for asked() == before && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		p.clock.total.Add(int64(gone))
		release()
		r, err := alive.Recv()
		switch {
		case err != nil || r.TTL <= 0:
			t.Fatalf("after %v: %v, %v", gone, r, err)
		case gone == aWhile && r.TTL > leftThen:
			t.Errorf("after %v %d is left", gone, r.TTL)
		case gone == tooLong && asked() == before+1:
			t.Errorf("after %v %d is left, and nobody was asked", gone, r.TTL)
		}
	}
	p.clock.each.Store(int64(tooLong))
	before := asked()
	send()
	for asked() < before+3 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	p.clock.each.Store(0)
	if r, err := alive.Recv(); err != nil || r.TTL <= 0 {
		t.Errorf("too late some times: %v, %v", r, err)
	}
	p.clock.each.Store(int64(tooLong))
	before = asked()
	send()
	for asked() < before+2 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	p.clock.later.Add(int64(lateTime))
	if r, err := alive.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "too late") {
		t.Errorf("too late for too long: %v, %v", r, err)
	}
}
