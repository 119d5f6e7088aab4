package etcdapi_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// nearly reports whether what is told of a time to live is that, or not much less: the machine may be slow.
func nearly(told, ttl int64) bool { return told <= ttl && told > ttl/2 }

// grantUntold grants a lease, however long that takes: no client is told in time of one that runs out meanwhile.
func grantUntold(t *testing.T, n *etcdapitest.Node, id, ttl int64) {
	t.Helper()
	c := command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: id, TTL: ttl})
	if _, err := n.Replicator.Propose(t.Context(), []*replication.Command{{Data: c}}); err != nil {
		t.Fatal(err)
	}
}

func TestLeases(t *testing.T) {
	c, ctx := client(t, etcdapitest.Start(t, etcdapi.Limits{})), bounded(t)
	began := time.Now()
	granted, err := c.Grant(ctx, 100)
	if err != nil || granted.ID <= 0 || !nearly(granted.TTL, 100) {
		t.Fatalf("grant: %v, %v", granted, err)
	}
	if _, err := c.Put(ctx, "k", "v", clientv3.WithLease(granted.ID)); err != nil {
		t.Fatal(err)
	}
	left, err := c.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	least := 99 - int64(time.Since(began)/time.Second)
	if err != nil || left.GrantedTTL != 100 || left.TTL < least || left.TTL > 100 || len(left.Keys) != 1 ||
		string(left.Keys[0]) != "k" {
		t.Fatalf("time to live: %v, %v", left, err)
	}
	alive, err := c.KeepAliveOnce(ctx, granted.ID)
	if err != nil || !nearly(alive.TTL, 100) {
		t.Fatalf("keep-alive: %v, %v", alive, err)
	}
	if all, err := c.Leases(ctx); err != nil || len(all.Leases) != 1 || all.Leases[0].ID != granted.ID {
		t.Fatalf("leases: %v, %v", all, err)
	}
	if _, err := c.Revoke(ctx, granted.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(ctx, "k"); err != nil || got.Count != 0 {
		t.Fatalf("the key of a revoked lease: %v, %v", got, err)
	}
	if left, err := c.TimeToLive(ctx, granted.ID); err != nil || left.TTL != -1 {
		t.Fatalf("time to live of a revoked lease: %v, %v", left, err)
	}
}

func TestLeaseExpires(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	n.Lessor.Demote() // nothing expires before the key has its lease
	grantUntold(t, n, 7, 1)
	put, err := c.Put(ctx, "k", "v", clientv3.WithLease(7))
	if err != nil {
		t.Fatal(err)
	}
	n.Lessor.Promote(replication.Tenure{Term: 3, Epoch: 1})
	gone := <-c.Watch(ctx, "k", clientv3.WithRev(put.Header.Revision+1))
	if len(gone.Events) != 1 || gone.Events[0].Type != clientv3.EventTypeDelete {
		t.Fatalf("watch says %v", gone)
	}
}

// Clients renew all their leases on one stream; the leader may be far away.
func TestKeepAlivesShareQuestions(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	ctx, lease := bounded(t), pb.NewLeaseClient(n.Dial(t))
	const leases, ttl = 500, 1000 // seconds: none expires before it is renewed
	for id := range int64(leases) {
		if _, err := lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id + 1, TTL: ttl}); err != nil {
			t.Fatal(err)
		}
	}
	release := n.Replicator.HoldAsks()
	stream, err := lease.LeaseKeepAlive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for id := range int64(leases + 1) {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	release()
	answered := map[int64]int64{}
	for range leases + 1 {
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		answered[r.ID] = r.TTL
	}
	for id := range int64(leases) {
		if !nearly(answered[id+1], ttl) {
			t.Fatalf("lease %d: time to live %d", id+1, answered[id+1])
		}
	}
	if left, ok := answered[leases+1]; !ok || left != 0 {
		t.Errorf("a lease that does not exist: time to live %d, answered %v", left, ok)
	}
	if asked, _ := n.Replicator.Calls(); asked > leases/2 {
		t.Errorf("%d questions for %d leases", asked, leases)
	}
}

// A question that hangs holds up those who share it, and nobody else.
func TestKeepAlivesDoNotWaitForAQuestionThatHangs(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{RequestTimeout: time.Minute})
	ctx, lease := bounded(t), pb.NewLeaseClient(n.Dial(t))
	for id := range int64(4) {
		if _, err := lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id + 1, TTL: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := lease.LeaseKeepAlive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(id int64) {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	receive := func() int64 {
		r, err := stream.Recv()
		if err != nil || !nearly(r.TTL, 1000) {
			t.Fatalf("%v, %v", r, err)
		}
		return r.ID
	}
	release := n.Replicator.HoldAsks()
	send(1)
	for asked := 0; asked == 0; asked, _ = n.Replicator.Calls() {
		runtime.Gosched()
	}
	n.Replicator.LetAsks()
	for id := int64(2); id <= 4; id++ {
		send(id)
		if got := receive(); got != id {
			t.Errorf("answered for %d, want %d", got, id)
		}
	}
	release()
	if got := receive(); got != 1 {
		t.Errorf("answered for %d, want the one that hung", got)
	}
}

// What is said of a lease is not taken back: neither that it is there, in either way of asking, before its grant is as
// safe as what was acknowledged, nor that it is gone. One that is known to stay is renewed while others wait.
func TestWhatIsSaidOfALeaseIsSettled(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	ctx, lease := bounded(t), pb.NewLeaseClient(n.Dial(t))
	left := func(id int64, keys bool) (int64, error) {
		r, err := lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys})
		return r.GetTTL(), err
	}
	renewed := func(id int64) (int64, error) {
		s, err := lease.LeaseKeepAlive(ctx)
		if err == nil {
			err = s.Send(&pb.LeaseKeepAliveRequest{ID: id})
		}
		if err != nil {
			return 0, err
		}
		r, err := s.Recv()
		return r.GetTTL(), err
	}
	grant := func(ids ...int64) {
		for _, id := range ids {
			if _, err := lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 1000}); err != nil {
				t.Fatal(err)
			}
		}
	}
	revoke := func(id int64) {
		if _, err := lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	settles := func(is bool) {
		n.Replicator.AtEnds(nil)
		if !is {
			n.Replicator.AtEnds(func() error { return fmt.Errorf("%w: on purpose", replication.ErrNotReady) })
		}
	}
	expect := func(what string, id int64, alive, renews bool) {
		t.Helper()
		for _, keys := range []bool{false, true} {
			if got, err := left(id, keys); status.Code(err) != codes.Unavailable {
				t.Errorf("%s, with keys %t: %d is left, %v", what, keys, got, err)
			}
		}
		if got, err := renewed(id); renews != (err == nil) || !renews && status.Code(err) != codes.Unavailable ||
			renews && got < 990 {
			t.Errorf("%s: renewed for %d, %v", what, got, err)
		}
		if !alive {
			return
		}
		settles(true)
		defer settles(false)
		if got, err := renewed(id); err != nil || got < 990 {
			t.Errorf("%s, and settled: renewed for %d, %v", what, got, err)
		}
	}
	grant(7, 8)
	settles(false)
	expect("granted", 7, true, false)
	expect("known to stay", 7, true, true)
	expect("another one", 8, false, false)
	revoke(7)
	expect("revoked", 7, false, false)
	grant(7)
	expect("granted anew", 7, true, false)
	revoke(7)
	settles(true)
	if got, err := renewed(7); err != nil || got != 0 {
		t.Errorf("gone for good: renewed for %d, %v", got, err)
	}
	if got, err := left(7, false); err != nil || got != -1 {
		t.Errorf("gone for good: %d is left, %v", got, err)
	}
}

// A lease whose end was decided, and has not come about, is not said to be gone, in either way of asking: the leader
// who decided that may lose its place first, and then it lives on with its keys.
func TestALeaseWhoseEndIsUnderWayIsNotSaidToBeGone(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	ctx, lease := bounded(t), pb.NewLeaseClient(n.Dial(t))
	n.Lessor.Demote()
	const ttl = 2 // seconds, the least
	grantUntold(t, n, 7, ttl)
	if _, err := pb.NewKVClient(n.Conn).Put(ctx, &pb.PutRequest{Key: []byte("k"), Lease: 7}); err != nil {
		t.Fatal(err)
	}
	held, release := n.Replicator.HoldWrites()
	defer release()
	n.Lessor.Promote(replication.Tenure{Term: 3, Epoch: 1})
	await(t, "the end of the lease is under way", func() bool { return held() > 0 })
	left, err := lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 7, Keys: true})
	if err != nil || left.TTL != 0 || left.GrantedTTL != ttl || len(left.Keys) != 1 {
		t.Errorf("time to live: %v, %v", left, err)
	}
	s, err := lease.LeaseKeepAlive(ctx)
	if err == nil {
		err = s.Send(&pb.LeaseKeepAliveRequest{ID: 7})
	}
	if err != nil {
		t.Fatal(err)
	}
	asked, _ := n.Replicator.Calls()
	await(t, "it is asked about again", func() bool { now, _ := n.Replicator.Calls(); return now > asked+1 })
	answer := n.Replicator.HoldAsks() // while there is no lessor, who is asked knows nothing
	asked, _ = n.Replicator.Calls()
	await(t, "a question waits", func() bool { now, _ := n.Replicator.Calls(); return now > asked })
	n.Lessor.Demote()
	n.Lessor.Promote(replication.Tenure{Term: 4, Epoch: 1})
	answer()
	if r, err := s.Recv(); err != nil || r.TTL <= 0 || r.TTL > ttl || r.ID != 7 {
		t.Errorf("%v, %v", r, err)
	}
}

// Whatever a client has left unread of its watches, its leases are kept alive, and it is told how the node is.
func TestWhatIsUnreadHoldsUpNoKeepAlive(t *testing.T) {
	var api atomic.Pointer[etcdapi.API]
	n := etcdapitest.StartWith(t, etcdapi.Options{
		Limits: etcdapi.Limits{AnswerBytes: 1 << 20},
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			etcdapi.LeaveUnread(ss.Context(), api.Load(), 2<<20)
			return handle(srv, ss)
		},
	})
	api.Store(n.API)
	c, ctx := pb.NewLeaseClient(n.Dial(t)), bounded(t)
	if _, err := c.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 7, TTL: 600}); err != nil {
		t.Fatal(err)
	}
	s, err := c.LeaseKeepAlive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 { // of some 40 bytes
		if err := s.Send(&pb.LeaseKeepAliveRequest{ID: 7}); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Recv(); err != nil || r.TTL == 0 {
			t.Fatalf("answer %d: %v, %v", i, r, err)
		}
	}
}
