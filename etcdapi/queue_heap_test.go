package etcdapi_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// Who waits in a queue holds nothing of what others say in it, however large that is.
func TestWhoWaitsHoldsNothingOfOthers(t *testing.T) {
	q := newQueues(t)
	const value, waiters = 1 << 20, 32
	_, err := q.election.Campaign(q.ctx, &v3electionpb.CampaignRequest{
		Name: []byte("l"), Lease: 1, Value: []byte(strings.Repeat("v", value)),
	})
	q.must(err)
	heap() // what tests before have left is gone with the second collection
	before := heap()
	ctx, leave := context.WithCancel(q.ctx)
	defer leave()
	for range waiters / 2 {
		go q.election.Campaign(ctx, &v3electionpb.CampaignRequest{Name: []byte("l"), Lease: 2})
		q.locks(ctx, 3)
	}
	await(t, "all wait", func() bool { return q.Store.Metrics().Watchers == 2*waiters })
	if used := heap() - before; used > waiters*value/4 {
		t.Errorf("%d who wait hold %d MiB", waiters, used>>20)
	}
}

// Who waits with a lease that has many keys reads none of them.
func TestWhoWaitsReadsNoKeysOfHisLease(t *testing.T) {
	q := newQueues(t)
	const keys, keyBytes, waiters = 2000, 1 << 10, 32
	var puts []*replication.Command
	for i := range keys {
		key := fmt.Appendf(nil, "k/%0*d", keyBytes, i)
		puts = append(puts, &replication.Command{Data: command.EncodePut(&pb.PutRequest{Key: key, Lease: 2})})
	}
	_, err := q.Replicator.Propose(q.ctx, puts)
	q.must(err)
	q.must(<-q.locks(q.ctx, 1))
	ctx, leave := context.WithCancel(q.ctx)
	defer leave()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range waiters {
		q.locks(ctx, 2)
	}
	await(t, "all wait", func() bool { return q.Store.Metrics().Watchers == 2*waiters })
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > waiters*keys*keyBytes/4 {
		t.Errorf("%d who wait took %d MiB, with a lease whose keys have %d MiB", waiters, took>>20, keys*keyBytes>>20)
	}
}

// What those hold who wait in a queue is bounded, and free when they leave.
func TestWhatThoseNameWhoWaitIsBounded(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: 3 << 19, RequestTimeout: patience})
	c, name := n.Dial(t), make([]byte, 200<<10) // three times held
	lock := v3lockpb.NewLockClient(c)
	for id := range int64(3) {
		_, err := pb.NewLeaseClient(c).LeaseGrant(bounded(t), &pb.LeaseGrantRequest{ID: id + 1, TTL: 3600})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lock.Lock(bounded(t), &v3lockpb.LockRequest{Name: name, Lease: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(bounded(t))
	defer leave()
	left := make(chan error, 1)
	go func() {
		_, err := lock.Lock(ctx, &v3lockpb.LockRequest{Name: name, Lease: 2})
		left <- err
	}()
	await(t, "one waits", func() bool { return n.Store.Metrics().Watchers == 2 })
	_, err := lock.Lock(bounded(t), &v3lockpb.LockRequest{Name: name, Lease: 3})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	if _, err := lock.Lock(bounded(t), &v3lockpb.LockRequest{Name: []byte("short"), Lease: 3}); err != nil {
		t.Errorf("one that holds little: %v", err)
	}
	leave()
	<-left
	await(t, "there is room again", func() bool {
		short, cancel := context.WithTimeout(bounded(t), patience)
		defer cancel()
		_, err := lock.Lock(short, &v3lockpb.LockRequest{Name: append([]byte("x"), name...), Lease: 3})
		return err == nil
	})
}

// So is what those hold who look on at an election.
func TestWhatThoseNameWhoLookOnIsBounded(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: 3 << 19, RequestTimeout: patience})
	c, name := n.Dial(t), make([]byte, 200<<10) // three times held
	_, err := pb.NewLeaseClient(c).LeaseGrant(bounded(t), &pb.LeaseGrantRequest{ID: 1, TTL: 3600})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(bounded(t))
	defer leave()
	election, asked := v3electionpb.NewElectionClient(c), &v3electionpb.LeaderRequest{Name: name}
	if _, err := election.Observe(ctx, asked); err != nil {
		t.Fatal(err)
	}
	await(t, "one looks on", func() bool { return n.Store.Metrics().Watchers == 1 })
	more, err := election.Observe(bounded(t), asked)
	if err == nil {
		_, err = more.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	leave()
	await(t, "there is room again", func() bool {
		_, err := v3lockpb.NewLockClient(c).Lock(bounded(t), &v3lockpb.LockRequest{Name: name, Lease: 1})
		return err == nil
	})
}

// Of leases, too, no more is told than there is room for.
func TestAnswersAboutLeasesAreBounded(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: 2 << 20})
	c, ctx := pb.NewLeaseClient(n.Dial(t)), bounded(t)
	var grants []*replication.Command
	for id := range int64(30_000) {
		grants = append(grants, &replication.Command{
			Data: command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: id + 1, TTL: 3600}),
		})
	}
	if _, err := n.Replicator.Propose(ctx, grants); err != nil {
		t.Fatal(err)
	}
	if _, err := c.LeaseLeases(ctx, &pb.LeaseLeasesRequest{}); !strings.Contains(told(err), "max-answer-bytes") {
		t.Errorf("all leases: %v", err)
	}
	kv := pb.NewKVClient(n.Dial(t))
	for i := range 4 {
		key := append([]byte{byte(i)}, make([]byte, 1<<20)...)
		if _, err := kv.Put(ctx, &pb.PutRequest{Key: key, Lease: 1}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 1, Keys: true})
	if !strings.Contains(told(err), "max-answer-bytes") {
		t.Errorf("the keys of a lease: %v", err)
	}
	if _, err := c.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 1}); err != nil {
		t.Errorf("without them: %v", err)
	}
}
