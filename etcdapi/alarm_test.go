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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

// While a client says that the data are corrupt no lease comes to its end, also none that was due already; afterwards
// each has its full time.
func TestNoLeaseEndsWhileTheDataAreCorrupt(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	granted, err := c.Grant(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	bare := pb.NewMaintenanceClient(n.Dial(t))
	for _, of := range []struct {
		kind   pb.AlarmType
		action pb.AlarmRequest_AlarmAction
		whole  bool // time that passes is not taken from it
	}{
		{pb.AlarmType_NOSPACE, pb.AlarmRequest_ACTIVATE, false},
		{pb.AlarmType_CORRUPT, pb.AlarmRequest_ACTIVATE, true},
		{pb.AlarmType_NOSPACE, pb.AlarmRequest_DEACTIVATE, true},
		{pb.AlarmType_CORRUPT, pb.AlarmRequest_DEACTIVATE, false},
	} {
		if _, err := bare.Alarm(ctx, &pb.AlarmRequest{Action: of.action, MemberID: 123, Alarm: of.kind}); err != nil {
			t.Fatal(err)
		}
		left, _, err := n.Lessor.TimeToLive(int64(granted.ID))
		if err != nil || (left == 100) != of.whole {
			t.Errorf("%v %v: %d s are left, %v", of.action, of.kind, left, err)
		}
	}
}

// Whoever asks for the alarms is told of one that was acknowledged elsewhere, and not applied here yet; where that
// cannot be known he is told so.
func TestTheListOfAlarmsIsOfTheFleet(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	ctx, bare := bounded(t), pb.NewMaintenanceClient(n.Dial(t))
	raise := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 123, Alarm: pb.AlarmType_NOSPACE}
	n.Replicator.AtBarriers(sync.OnceFunc(func() {
		if _, err := bare.Alarm(ctx, raise); err != nil {
			t.Error(err)
		}
	}))
	list, err := bare.Alarm(ctx, &pb.AlarmRequest{})
	if err != nil || len(list.Alarms) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	n.Replicator.FailBarriers(replication.ErrNotReady)
	if list, err := bare.Alarm(ctx, &pb.AlarmRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, %v", list, err)
	}
}
