package etcdapi_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// Once it is acknowledged that an alarm is disarmed, no node refuses a write for it, also one that is behind and has
// not heard of that; and an alarm that stands is one there too.
func TestAlarmsAtANodeThatIsBehind(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	held, err := c.Grant(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	writes := map[string]func(context.Context) error{
		"put":    func(ctx context.Context) error { _, err := c.Put(ctx, "k", "v"); return err },
		"grant":  func(ctx context.Context) error { _, err := c.Grant(ctx, 10); return err },
		"delete": func(ctx context.Context) error { _, err := c.Delete(ctx, "k"); return err },
		"txn": func(ctx context.Context) error {
			_, err := c.Txn(ctx).Then(clientv3.OpPut("k", "v")).Commit()
			return err
		},
		"deleting txn": func(ctx context.Context) error {
			_, err := c.Txn(ctx).Then(clientv3.OpDelete("k")).Commit()
			return err
		},
		"compact": func(ctx context.Context) error { _, err := c.Compact(ctx, n.Store.Revision()); return err },
		"revoke":  func(ctx context.Context) error { _, err := c.Revoke(ctx, held.ID); return err },
	}
	bare := pb.NewMaintenanceClient(n.Dial(t))
	for kind, refusal := range map[pb.AlarmType]error{
		pb.AlarmType_NOSPACE: rpctypes.ErrNoSpace, pb.AlarmType_CORRUPT: rpctypes.ErrCorrupt,
	} {
		alarm := func(action pb.AlarmRequest_AlarmAction) {
			if _, err := bare.Alarm(ctx, &pb.AlarmRequest{Action: action, MemberID: 123, Alarm: kind}); err != nil {
				t.Error(err)
			}
		}
		alarm(pb.AlarmRequest_ACTIVATE)
		if err := writes["put"](ctx); !errors.Is(err, refusal) {
			t.Errorf("a put while %v stands: %v", kind, err)
		}
		alarm(pb.AlarmRequest_DEACTIVATE)
		for name, write := range writes {
			alarm(pb.AlarmRequest_ACTIVATE)
			n.Replicator.AtBarriers(sync.OnceFunc(func() { alarm(pb.AlarmRequest_DEACTIVATE) }))
			if err := write(ctx); errors.Is(err, refusal) {
				t.Errorf("%s, when %v has been disarmed: %v", name, kind, err)
			}
			n.Replicator.AtBarriers(func() {})
			alarm(pb.AlarmRequest_DEACTIVATE)
		}
	}
}

// The status of a node names every alarm that the list of alarms shows, also that a member differs from others or that
// none can tell, and each once.
func TestTheStatusNamesEveryAlarm(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	for _, one := range []*pb.AlarmRequest{
		{Alarm: pb.AlarmType_NOSPACE, MemberID: 1}, {Alarm: command.AlarmDiffers, MemberID: 2},
		{Alarm: command.AlarmUnsure, MemberID: 3}, {Alarm: command.AlarmDiffers, MemberID: 4},
		{Alarm: pb.AlarmType_CORRUPT, MemberID: 4},
	} {
		one.Action = pb.AlarmRequest_ACTIVATE
		raise := []*replication.Command{{Data: command.EncodeAlarm(one)}}
		if _, err := n.Replicator.Propose(ctx, raise); err != nil {
			t.Fatal(err)
		}
	}
	listed, err := c.AlarmList(ctx)
	if err != nil || len(listed.Alarms) != 4 {
		t.Fatalf("alarms: %v, %v", listed, err)
	}
	var want []string
	for _, a := range listed.Alarms {
		want = append(want, (*pb.AlarmMember)(a).String())
	}
	if s, err := c.Status(ctx, n.Endpoint); err != nil || !slices.Equal(s.Errors, want) {
		t.Errorf("status: %v, %v, want %q", s, err, want)
	}
}
