package etcdapi_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// suspended is the machine's clock, which stands still while the machine is suspended, but for the lease clock.
type suspended struct {
	clock.Clock
	total atomic.Int64
	each  atomic.Int64 // for how long it is suspended after each reading
	later atomic.Int64 // by how much it is later, when it is not
}

func (c *suspended) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.later.Load())) }

func (c *suspended) Elapsed() time.Duration {
	defer c.total.Add(c.each.Load())
	return c.Clock.Elapsed() + time.Duration(c.total.Load())
}

func (c *suspended) suspend(d time.Duration) { c.total.Add(int64(d)) }

const (
	ageTTL   = 1000                                 // seconds, of leases of which no test sees the end
	aWhile   = 5*time.Second + 500*time.Millisecond // of it
	tooLong  = 2 * ageTTL * time.Second             // than it
	leftThen = ageTTL - 5                           // is left at most when aWhile has passed
)

// withLease starts a node whose lease clock is its own, with a lease.
func withLease(t *testing.T, id int64) (n *etcdapitest.Node, c *suspended, leases pb.LeaseClient) {
	t.Helper()
	c = &suspended{Clock: clock.Real}
	n = etcdapitest.StartWith(t, etcdapi.Options{Clock: c})
	leases = pb.NewLeaseClient(n.Conn)
	if _, err := leases.LeaseGrant(bounded(t), &pb.LeaseGrantRequest{ID: id, TTL: ageTTL}); err != nil {
		t.Fatal(err)
	}
	return n, c, leases
}

// keepAliveOf returns how a lease is kept alive, on one stream.
func keepAliveOf(t *testing.T, leases pb.LeaseClient, id int64) (ask func(), answer func() (int64, error)) {
	t.Helper()
	s, err := leases.LeaseKeepAlive(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	ask = func() {
		t.Helper()
		if err := s.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	return ask, func() (int64, error) {
		r, err := s.Recv()
		return r.GetTTL(), err
	}
}

// A keep-alive says what is left when it is told: less by what the answer was on its way, and nothing of a lease that
// may have ended meanwhile. About that one it is asked again.
func TestAKeepAliveIsToldWithItsAge(t *testing.T) {
	n, c, leases := withLease(t, 7)
	ask, answer := keepAliveOf(t, leases, 7)
	asked := func() int { got, _ := n.Replicator.Calls(); return got }
	for _, gone := range []time.Duration{0, aWhile, tooLong} {
		before := asked()
		release := n.Replicator.HoldAsks()
		ask()
		await(t, "the primary is asked", func() bool { return asked() > before })
		c.suspend(gone)
		release()
		got, err := answer()
		switch {
		case err != nil || got <= 0:
			t.Errorf("after %v: %d, %v", gone, got, err)
		case gone == aWhile && got > leftThen:
			t.Errorf("after %v %d is left", gone, got)
		case gone == tooLong && asked() == before+1:
			t.Errorf("after %v %d is left, and nobody was asked", gone, got)
		}
	}
}

// What is told of a lease waits until that is settled, and runs meanwhile, also while the machine is suspended.
func TestWhatIsToldOfALeaseIsAsOldAsItIs(t *testing.T) {
	n, c, leases := withLease(t, 7)
	n.Replicator.AtEnds(func() error {
		c.suspend(aWhile)
		return nil
	})
	ask, answer := keepAliveOf(t, leases, 7)
	ask()
	if got, err := answer(); err != nil || got > leftThen || got <= 0 {
		t.Errorf("kept alive for %d, %v", got, err)
	}
	left, err := leases.LeaseTimeToLive(bounded(t), &pb.LeaseTimeToLiveRequest{ID: 7})
	if err != nil || left.TTL > leftThen || left.TTL <= 0 || left.GrantedTTL != ageTTL {
		t.Errorf("time to live: %v, %v", left, err)
	}
	n.Replicator.AtEnds(func() error {
		c.suspend(tooLong)
		return nil
	})
	before, _ := n.Replicator.Calls()
	left, err = leases.LeaseTimeToLive(bounded(t), &pb.LeaseTimeToLiveRequest{ID: 7})
	if asked, _ := n.Replicator.Calls(); err != nil || left.TTL != 0 || left.GrantedTTL != ageTTL || asked != before+2 {
		t.Errorf("time to live, over by now each time: %v, %v, asked %d times", left, err, asked-before)
	}
}

// A question about a lease that waited for longer than it has, as for a primary, is put again: what is said of it was
// true only just now.
func TestWhatIsLeftIsAskedAgainWhereTheAnswerCameTooLate(t *testing.T) {
	n, c, leases := withLease(t, 7)
	before, _ := n.Replicator.Calls()
	asked := func() int { got, _ := n.Replicator.Calls(); return got - before }
	release := n.Replicator.HoldAsks()
	type result struct {
		*pb.LeaseTimeToLiveResponse
		err error
	}
	told, ctx := make(chan result, 1), bounded(t)
	go func() {
		r, err := leases.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 7})
		told <- result{r, err}
	}()
	await(t, "the primary is asked", func() bool { return asked() > 0 })
	c.suspend(tooLong)
	release()
	if r := <-told; r.err != nil || r.TTL <= 0 || r.GrantedTTL != ageTTL || asked() != 2 {
		t.Errorf("time to live: %v, %v, asked %d times", r.LeaseTimeToLiveResponse, r.err, asked())
	}
}

// A keep-alive whose answers come too late each time ends like any request that takes too long.
func TestAnswersThatAlwaysComeTooLateEnd(t *testing.T) {
	n, c, leases := withLease(t, 7)
	const most = time.Minute
	n.API.SetLimits(etcdapi.Limits{RequestTimeout: most})
	c.each.Store(int64(tooLong))
	ask, answer := keepAliveOf(t, leases, 7)
	ask()
	await(t, "it is asked again", func() bool { asked, _ := n.Replicator.Calls(); return asked >= 2 })
	c.later.Add(int64(most))
	if got, err := answer(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "too late") {
		t.Errorf("%d, %v", got, err)
	}
}

// A lease runs since its grant was applied. It is told with what is left when the answer comes, renewed where that is
// nothing, and not at all where it cannot be.
func TestAGrantIsToldWithItsAge(t *testing.T) {
	n, c, leases := withLease(t, 1)
	for id, gone := range map[int64]time.Duration{7: aWhile, 8: tooLong, 9: tooLong} {
		held, release := n.Replicator.HoldWrites()
		type result struct {
			*pb.LeaseGrantResponse
			err error
		}
		told, ctx := make(chan result, 1), bounded(t)
		go func() {
			r, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: ageTTL})
			told <- result{r, err}
		}()
		await(t, "the grant is on its way", func() bool { return held() > 0 })
		c.suspend(gone)
		before, _ := n.Replicator.Calls()
		if id == 9 {
			n.Lessor.Demote()
		}
		release()
		r := <-told
		asked, _ := n.Replicator.Calls()
		switch {
		case id == 7 && (r.err != nil || r.TTL > leftThen || r.TTL <= 0),
			id == 8 && (r.err != nil || r.TTL <= 0 || asked == before),
			id == 9 && status.Code(r.err) != codes.FailedPrecondition:
			t.Errorf("lease %d: %v, %v, asked %d times", id, r.LeaseGrantResponse, r.err, asked-before)
		}
		n.Lessor.Promote(replication.Tenure{Term: 3, Epoch: 1})
	}
}

// A lease is said to be gone, or to end, by what is here behind the answer: it was another one when that was given.
func TestALeaseThatIsGoneByNowIsSaidToBe(t *testing.T) {
	n, _, leases := withLease(t, 7)
	for _, c := range []struct {
		what    string
		command []byte
		granted int64
	}{
		{"ends", command.EncodeLeaseExpiryPart(7, [][]byte{[]byte("k")}, command.Begins), ageTTL},
		{"is gone", command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 7}), 0},
	} {
		n.Replicator.AtBarriers(sync.OnceFunc(func() {
			n.Lessor.Demote()
			if _, err := n.Replicator.Propose(t.Context(), []*replication.Command{{Data: c.command}}); err != nil {
				t.Error(err)
			}
		}))
		n.Lessor.Promote(replication.Tenure{Term: 3, Epoch: 1})
		left, err := leases.LeaseTimeToLive(bounded(t), &pb.LeaseTimeToLiveRequest{ID: 7, Keys: true})
		if err != nil || left.TTL != -1 || left.GrantedTTL != c.granted || len(left.Keys) != 0 {
			t.Errorf("%s: %v, %v", c.what, left, err)
		}
	}
}
