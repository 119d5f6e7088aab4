package front

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const ttlMethod = leaseService + "LeaseTimeToLive"

// holdsAll refuses a request that goes to the fleet and is not about the keys that are followed alone.
func (f *Front) holdsAll(ctx context.Context, r any) error {
	holds := true
	switch r := r.(type) {
	case *pb.PutRequest:
		holds = f.holds(r.Key, nil)
	case *pb.DeleteRangeRequest:
		holds = f.holds(r.Key, r.RangeEnd)
	case *pb.TxnRequest:
		holds = f.holdsTxn(r)
	case *pb.LeaseRevokeRequest:
		return f.holdsLease(ctx, r.ID)
	}
	if !holds {
		return f.outside
	}
	return nil
}

func (f *Front) holds(key, end []byte) bool { return f.sink.Prefixes().Hold(key, end) }

// holdsTxn reports whether all that a transaction compares, reads and changes is followed. One that names nothing is
// about no other key.
func (f *Front) holdsTxn(r *pb.TxnRequest) bool {
	for _, c := range r.Compare {
		if !f.holds(c.Key, c.RangeEnd) {
			return false
		}
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if !f.holdsOp(op) {
				return false
			}
		}
	}
	return true
}

func (f *Front) holdsOp(op *pb.RequestOp) bool {
	switch q := op.GetRequest().(type) {
	case *pb.RequestOp_RequestPut:
		return f.holds(q.RequestPut.GetKey(), nil)
	case *pb.RequestOp_RequestRange:
		return f.holds(q.RequestRange.GetKey(), q.RequestRange.GetRangeEnd())
	case *pb.RequestOp_RequestDeleteRange:
		return f.holds(q.RequestDeleteRange.GetKey(), q.RequestDeleteRange.GetRangeEnd())
	case *pb.RequestOp_RequestTxn:
		return q.RequestTxn != nil && f.holdsTxn(q.RequestTxn)
	}
	return false
}

// holdsLease refuses to end a lease on which other keys hang, which would go with it.
func (f *Front) holdsLease(ctx context.Context, id int64) error {
	answer := new(pb.LeaseTimeToLiveResponse)
	q := &pb.LeaseTimeToLiveRequest{ID: id, Keys: true}
	if err := f.links.Ask(asCaller(ctx), ttlMethod, q, answer); err != nil {
		return err
	}
	for _, key := range answer.Keys {
		if !f.holds(key, nil) {
			return f.outside
		}
	}
	return nil
}

// isStale reports whether a transaction only reads, and says of each read that it may be stale.
func isStale(r *pb.TxnRequest) bool {
	if len(r.Success)+len(r.Failure) == 0 {
		return false
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			nested := op.GetRequestTxn()
			if !op.GetRequestRange().GetSerializable() && (nested == nil || !isStale(nested)) {
				return false
			}
		}
	}
	return true
}
