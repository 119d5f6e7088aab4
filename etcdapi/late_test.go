package etcdapi_test

import (
	"errors"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
)

// In a region that shows its history late writes that name ranges or leases are done as all others are: a session that
// got keys there can close. Only reads that are to be linearizable are refused.
func TestWritesInADelayedRegion(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	n.Replicator.FailBarriers(fmt.Errorf("%w: on purpose", replication.ErrDelayed))
	session, err := c.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a/1", "b/1"} {
		if _, err := c.Put(ctx, key, "", clientv3.WithLease(session.ID)); err != nil {
			t.Fatal(err)
		}
	}
	locks, elections := v3lockpb.NewLockClient(n.Conn), v3electionpb.NewElectionClient(n.Conn)
	for _, call := range []struct {
		name string
		run  func() error
	}{
		{"lock", func() error {
			_, err := locks.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("l"), Lease: int64(session.ID)})
			return err
		}},
		{"campaign", func() error {
			_, err := elections.Campaign(ctx, &v3electionpb.CampaignRequest{
				Name: []byte("e"), Lease: int64(session.ID)})
			return err
		}},
		{"delete", func() error { _, err := c.Delete(ctx, "a/", clientv3.WithPrefix()); return err }},
		{"transaction", func() error {
			_, err := c.Txn(ctx).Then(clientv3.OpDelete("b/", clientv3.WithPrefix())).Commit()
			return err
		}},
		{"revoke", func() error { _, err := c.Revoke(ctx, session.ID); return err }},
	} {
		if err := call.run(); err != nil {
			t.Errorf("%s: %v", call.name, err)
		}
	}
	if left, err := c.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithSerializable()); err != nil || left.Count != 0 {
		t.Errorf("%v is left: %v", left, err)
	}
	_, err = pb.NewKVClient(n.Conn).Range(ctx, &pb.RangeRequest{Key: []byte("a")})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a linearizable read: %v", err)
	}
}

// An alarm that a region shows which shows its history late refuses writes there as an alarm.
func TestAnAlarmInADelayedRegion(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	if err := n.API.RaiseNoSpace(ctx); err != nil {
		t.Fatal(err)
	}
	n.Replicator.FailBarriers(fmt.Errorf("%w: on purpose", replication.ErrDelayed))
	if _, err := c.Put(ctx, "k", "v"); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("a write: %v", err)
	}
}
