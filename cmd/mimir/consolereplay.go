package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/replays"
)

// nodeReplays has nodes decide and replay tails as mimir tail does. It implements replays.Engine.
type nodeReplays struct{}

// Tails implements replays.Engine: of copies of one tail the one from which it would be replayed is told.
func (nodeReplays) Tails(ctx context.Context, m *replays.Means) (*replays.List, error) {
	all, silent, err := tailSearch{m.Admin, true}.all(ctx)
	if err != nil {
		return nil, err
	}
	list := &replays.List{Tails: []replays.Tail{}, Silent: append([]string{}, silent...)}
	for _, t := range all {
		i := slices.IndexFunc(list.Tails, func(other replays.Tail) bool { return other.Name == t.Name })
		if i < 0 {
			list.Tails = append(list.Tails, replays.Tail{TailInfo: t.TailInfo, Nodes: []string{t.Node}})
			continue
		}
		one := &list.Tails[i]
		if one.Nodes = append(one.Nodes, t.Node); t.Damaged == "" && (one.Damaged != "" || t.Commands > one.Commands) {
			one.TailInfo = t.TailInfo
		}
	}
	return list, nil
}

// Writes implements replays.Engine.
func (nodeReplays) Writes(
	ctx context.Context, m *replays.Means, name string, most int,
) (writes []*admin.Write, err error) {
	tail, err := tailSearch{m.Admin, true}.find(ctx, name, anyCopy)
	if err != nil {
		return nil, err
	}
	return admin.FirstWrites(ctx, m.Admin.At(tail.URLs...), name, most)
}

// mostHeld is how much a node holds of what a tail touches, beside what it does for its region.
const mostHeld = 256 << 20

// Replay implements replays.Engine.
func (nodeReplays) Replay(ctx context.Context, m *replays.Means, name string, dry bool, to replays.Teller) error {
	r := &replaying{dry: dry, maxOps: m.MaxOps, maxBytes: m.MaxBytes, maxHeld: mostHeld}
	to.Doing("looks for the tail, and where it parted from today's history")
	if err := r.find(ctx, tailSearch{m.Admin, true}, name, to.Note); err != nil {
		return err
	}
	to.Found(r.tail.Commands, r.tail.Node)
	to.Doing("reads the tail, and what its keys are today")
	t, err := todayBy(ctx, clientv3.Config{
		Endpoints: []string{"this-node"}, Token: m.Token, MaxCallRecvMsgSize: 1<<31 - 1,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(
			func(ctx context.Context, _ string) (net.Conn, error) { return m.Dial(ctx) })},
	})
	if err != nil {
		return byNobody(err)
	}
	defer t.client.Close()
	_, err = r.carryOut(ctx, t, to.At, func(e *replay.Entry) error {
		group, there := groupOf(e.Verdict)
		to.Became(group, there, writeOf(e))
		return nil
	})
	if r.holes != "" {
		to.Holes(r.holes)
	}
	return byNobody(tooLarge(name, err))
}

// tooLarge explains that a tail touches more than a node holds.
func tooLarge(name string, err error) error {
	if !errors.Is(err, replay.ErrTooMuch) {
		return err
	}
	return fmt.Errorf("what the tail touches is more than a node holds beside its own work: mimir tail replay %s does "+
		"it wherever it is run (%w)", name, err)
}

// byNobody explains a refusal of the etcd API to who is an operator, and no user who may read and write these keys.
func byNobody(err error) error {
	known := rpctypes.Error(err)
	for _, refusal := range []error{
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrUserEmpty, rpctypes.ErrPermissionDenied, rpctypes.ErrAuthOldRevision,
	} {
		if errors.Is(known, refusal) || errors.Is(err, refusal) {
			return fmt.Errorf("a tail is compared and replayed by the right of who is logged in, and users are "+
				"enabled: to be an operator is not enough; log in as a user who may read and write its keys (%w)", err)
		}
	}
	return err
}

// groupOf is where a command is listed; "" if nowhere, and then whether it was there already.
func groupOf(v replay.Verdict) (group replays.Group, there bool) {
	switch v {
	case replay.Applied, replay.Applies:
		return replays.Applied, false
	case replay.Conflict:
		return replays.Conflicts, false
	case replay.NotReplayed, replay.LeftOut:
		return replays.NotReplayed, false
	}
	return "", v == replay.There
}

// writeOf is as much of what became of a command as is kept.
func writeOf(e *replay.Entry) *replays.Write {
	w := &replays.Write{
		Place: strconv.FormatUint(e.Position, 10), Op: e.Op, Lease: leaseText(leaseOf(e)), Reason: e.Reason,
	}
	if e.Position == 0 {
		w.Place = "revision " + strconv.FormatInt(e.Revision, 10)
	}
	for i, k := range e.Keys {
		if i == replays.MostKeys {
			w.More = len(e.Keys) - i
			break
		}
		w.Keys = append(w.Keys, replays.TextOf(k))
	}
	for _, d := range e.Differences[:min(len(e.Differences), replays.MostDifferences)] {
		w.Differences = append(w.Differences, replays.Difference{
			Key: replays.TextOf(d.Key), Reason: d.Reason, Fork: shownValue(d.Fork), Lost: shownValue(d.Lost),
			Today: shownValue(d.Today),
		})
	}
	return w
}

func shownValue(v *replay.Value) *replays.Value {
	if v == nil {
		return nil
	}
	return &replays.Value{Exists: v.Exists, Value: replays.TextOf(v.Value), Lease: leaseText(v.Lease)}
}

func leaseText(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 16)
}

// leaseOf is the lease that a command grants or ends, or the first one that what it puts hangs on.
func leaseOf(e *replay.Entry) int64 {
	if e.Lease != 0 {
		return e.Lease
	}
	if e.Request == nil {
		for _, event := range e.Events {
			if event.Kv.Lease != 0 {
				return event.Kv.Lease
			}
		}
	}
	switch q := e.Request.(type) {
	case *pb.PutRequest:
		return q.Lease
	case *pb.TxnRequest:
		return leaseIn(q)
	}
	return 0
}

// leaseIn is the first lease that a transaction may put something on.
func leaseIn(q *pb.TxnRequest) int64 {
	for _, ops := range [][]*pb.RequestOp{q.Success, q.Failure} {
		for _, op := range ops {
			if id := op.GetRequestPut().GetLease(); id != 0 {
				return id
			}
			if n := op.GetRequestTxn(); n != nil {
				if id := leaseIn(n); id != 0 {
					return id
				}
			}
		}
	}
	return 0
}
