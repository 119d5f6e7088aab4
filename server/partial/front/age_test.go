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

	"github.com/mimir-kv/mimir/replication/clock"
)

// suspended is the machine's clock, which stands still while the machine is suspended, but for the lease clock.
type suspended struct {
	clock.Clock
	total atomic.Int64
	each  atomic.Int64 // for how long it is suspended after each reading
}

func (c *suspended) Elapsed() time.Duration {
	defer c.total.Add(c.each.Load())
	return c.Clock.Elapsed() + time.Duration(c.total.Load())
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
	p.clock.each.Store(int64(tooLong))
	if _, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 8, TTL: ageTTL}); status.Code(err) !=
		codes.FailedPrecondition {
		t.Errorf("granted, over by now: %v", err)
	}
	left, err = leases.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 7})
	if err != nil || left.TTL != 0 || left.GrantedTTL != ageTTL {
		t.Errorf("time to live, over by now: %v, %v", left, err)
	}
	p.clock.each.Store(0)
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
	send()
	if r, err := alive.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "too late") {
		t.Errorf("too late each time: %v, %v", r, err)
	}
}
