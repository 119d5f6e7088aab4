package live

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi/follow"
	"github.com/mimir-kv/mimir/kv/command"
)

// commandOf returns what makes the fleet, at the revision before, have this one. It says what it replaces, so that the
// fleet refuses it if it has something else there.
func commandOf(r *sides.Revision) ([]byte, error) {
	q := &pb.TxnRequest{}
	for _, e := range r.Events {
		c := &pb.Compare{Key: e.Kv.Key, Target: pb.Compare_VERSION}
		op := &pb.RequestOp{}
		if e.Type == mvccpb.Event_DELETE {
			c.Result, c.TargetUnion = pb.Compare_GREATER, &pb.Compare_Version{Version: 0}
			op.Request = &pb.RequestOp_RequestDeleteRange{
				RequestDeleteRange: &pb.DeleteRangeRequest{Key: e.Kv.Key}}
		} else {
			c.TargetUnion = &pb.Compare_Version{Version: e.Kv.Version - 1}
			op.Request = &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: e.Kv.Key, Value: e.Kv.Value, Lease: e.Kv.Lease}}
		}
		q.Compare = append(q.Compare, c)
		if e.Kv.Version > 1 {
			q.Compare = append(q.Compare, &pb.Compare{Key: e.Kv.Key, Target: pb.Compare_CREATE,
				TargetUnion: &pb.Compare_CreateRevision{CreateRevision: e.Kv.CreateRevision}})
		}
		q.Success = append(q.Success, op)
	}
	c := command.EncodeFollowed(r.Number-1, command.EncodeTxn(q))
	if len(c) > follow.MaxBatchBytes/2 {
		return nil, fmt.Errorf("%w: %d changes with %d bytes at revision %d; %s, behind that revision", ErrTooMuch,
			len(r.Events), len(c), r.Number, importAnew)
	}
	return c, nil
}

// same returns what is another in o, nil if nothing is.
func same(r, o *sides.Revision) error {
	if r.Number != o.Number || len(r.Events) != len(o.Events) {
		return fmt.Errorf("%w: %d changes at revision %d of the etcd, %d at %d of the fleet", ErrParted, len(r.Events),
			r.Number, len(o.Events), o.Number)
	}
	for i, e := range r.Events {
		if !proto.Equal(e, o.Events[i]) {
			return fmt.Errorf("%w: change %d of revision %d is %s of key %q in the etcd (version %d, lease %x, %d "+
				"bytes) and %s of key %q in the fleet (version %d, lease %x, %d bytes)", ErrParted, i, r.Number,
				e.Type, e.Kv.Key, e.Kv.Version, e.Kv.Lease, len(e.Kv.Value), o.Events[i].Type, o.Events[i].Kv.Key,
				o.Events[i].Kv.Version, o.Events[i].Kv.Lease, len(o.Events[i].Kv.Value))
		}
	}
	return nil
}
