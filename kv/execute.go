package kv

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// refusal marks an error as one of the store's own rules: a result, not a failure of the engine.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refuse returns err as a refusal if a result can carry it.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := codeOf(err); ok {
		return refusal{err}
	}
	return err
}

// execute does one command other than a plain put. The response is nil if the command was refused.
func (r *run) execute(q *request) (proto.Message, error) {
	switch {
	case q.deleteRange != nil:
		return r.deleteRange(q.deleteRange)
	case q.txn != nil:
		return r.txn(q.txn)
	case q.compaction != nil:
		return r.compact(q.compaction)
	case q.grant != nil:
		return r.leaseGrant(q.grant)
	case q.revoke != nil:
		return r.leaseRevoke(q.revoke)
	}
	if err := r.checkLease(q.put.Lease); err != nil {
		return nil, err
	}
	return r.put(&q.put, true)
}

func (r *run) checkLease(id int64) error {
	if id != 0 && !r.leases.has(id) {
		return refusal{ErrLeaseNotFound}
	}
	return nil
}

// put does q. Where it is strict, a key that ignore_value or ignore_lease need must exist; inside a transaction that has been
// checked before.
func (r *run) put(q *pb.PutRequest, strict bool) (*pb.PutResponse, error) {
	prev, err := r.replaced(q.Key, q.PrevKv || q.IgnoreValue)
	if err != nil {
		return nil, err
	}
	if strict && (q.IgnoreValue || q.IgnoreLease) && !prev.exists() {
		return nil, refusal{ErrKeyNotFound}
	}
	resp := &pb.PutResponse{}
	if q.PrevKv && prev.exists() {
		resp.PrevKv = prev.keyValue(q.Key)
	}
	value, lease := q.Value, q.Lease
	if q.IgnoreValue {
		prev.detach()
		value = prev.value
	}
	if q.IgnoreLease {
		lease = prev.lease
	}
	if err := r.write(q.Key, &prev, value, lease, kindPut); err != nil {
		return nil, err
	}
	resp.Header = &pb.ResponseHeader{Revision: r.now()}
	return resp, nil
}

func (r *run) deleteRange(q *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	resp := &pb.DeleteRangeResponse{}
	var each func(key []byte, v *version)
	if q.PrevKv {
		each = func(key []byte, v *version) { resp.PrevKvs = append(resp.PrevKvs, v.keyValue(key)) }
	}
	var err error
	resp.Deleted, err = r.deleteKeys(newSpan(q.Key, q.RangeEnd), each)
	if err != nil {
		return nil, err
	}
	resp.Header = &pb.ResponseHeader{Revision: r.now()}
	return resp, nil
}

func (r *run) compact(q *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	next, err := r.state.compacted(q.Revision)
	if err != nil {
		return nil, refuse(err)
	}
	r.state = next
	return &pb.CompactionResponse{Header: &pb.ResponseHeader{Revision: r.now()}}, nil
}

func (r *run) txn(q *pb.TxnRequest) (*pb.TxnResponse, error) {
	e := evaluation{view: r.view(), run: r}
	resp, err := e.txn(context.Background(), q)
	if err != nil {
		return nil, refuse(err)
	}
	resp.Header.Revision = r.now()
	return resp, nil
}

func (r *run) leaseGrant(q *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	switch {
	case q.ID == 0:
		return nil, refusal{ErrLeaseNotFound}
	case q.TTL > MaxLeaseTTL:
		return nil, refusal{ErrLeaseTTLTooLarge}
	case r.leases.has(q.ID):
		return nil, refusal{ErrLeaseExists}
	}
	ttl := max(q.TTL, MinLeaseTTL)
	if err := r.grant(q.ID, ttl); err != nil {
		return nil, err
	}
	return &pb.LeaseGrantResponse{Header: &pb.ResponseHeader{Revision: r.now()}, ID: q.ID, TTL: ttl}, nil
}

// leaseRevoke deletes the keys attached to the lease, all at one revision, and the lease.
func (r *run) leaseRevoke(q *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	if !r.leases.has(q.ID) {
		return nil, refusal{ErrLeaseNotFound}
	}
	keys, err := r.attached(q.ID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if _, err := r.deleteOne(key, nil); err != nil {
			return nil, err
		}
	}
	if err := r.revoke(q.ID); err != nil {
		return nil, err
	}
	return &pb.LeaseRevokeResponse{Header: &pb.ResponseHeader{Revision: r.now()}}, nil
}
