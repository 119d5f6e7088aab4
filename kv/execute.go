package kv

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// refusal marks an error as one of the store's own rules: a result, not a failure of the engine.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refuse returns err as a refusal if a result can carry it.
func refuse(err error) error {
	if err != nil && command.Carries(err) {
		return refusal{err}
	}
	return err
}

// execute does one command other than a plain put. The response is nil if the command was refused.
func (r *run) execute(q *command.Request) (proto.Message, error) {
	if err := r.checkStep(q); err != nil {
		return nil, err
	}
	switch {
	case q.DeleteRange != nil:
		return r.deleteRange(q.DeleteRange)
	case q.Txn != nil:
		resp, err := r.txn(q.Txn)
		if err == nil && q.Ends != 0 {
			err = r.beginEnd(q.Ends)
		}
		return resp, err
	case q.Compaction != nil:
		return r.compact(q.Compaction)
	case q.Grant != nil:
		return r.leaseGrant(q.Grant, q.Followed)
	case q.Revoke != nil:
		return r.leaseRevoke(q.Revoke, q.Followed)
	case q.Alarm != nil:
		return r.alarm(q.Alarm, q.Followed), nil
	case q.AuthEnable != nil:
		return r.authEnable(q.AuthEnable)
	case q.Auth != nil:
		return r.authChange(q.Auth)
	}
	if err := r.checkLease(q.Put.Lease); err != nil {
		return nil, err
	}
	return r.put(&q.Put, true)
}

// checkStep refuses a step of the end of a lease that is gone, or was granted anew since.
func (r *run) checkStep(q *command.Request) error {
	if q.Ends != 0 && !r.leases.Has(q.Ends) || q.Step == command.GoesOn && !r.leases.Ending(q.Ends) {
		return refusal{command.ErrLeaseNotFound}
	}
	return nil
}

func (r *run) checkLease(id int64) error {
	if id != 0 && !r.leases.Has(id) {
		return refusal{command.ErrLeaseNotFound}
	}
	return nil
}

// put does q. Where it is strict, a key that ignore_value or ignore_lease need must exist; inside a transaction that
// has been checked before.
func (r *run) put(q *pb.PutRequest, strict bool) (*pb.PutResponse, error) {
	prev, err := r.replaced(q.Key, q.PrevKv || q.IgnoreValue)
	if err != nil {
		return nil, err
	}
	if strict && (q.IgnoreValue || q.IgnoreLease) && !prev.Exists() {
		return nil, refusal{command.ErrKeyNotFound}
	}
	resp := &pb.PutResponse{}
	if q.PrevKv && prev.Exists() {
		resp.PrevKv = prev.KeyValue(q.Key)
	}
	value, id := q.Value, q.Lease
	if q.IgnoreValue {
		prev.Detach()
		value = prev.Value
	}
	if q.IgnoreLease {
		id = prev.Lease
	}
	if err := r.change(q.Key, &prev, value, id, mvcc.KindPut); err != nil {
		return nil, err
	}
	resp.Header = &pb.ResponseHeader{Revision: r.now()}
	return resp, nil
}

func (r *run) deleteRange(q *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	resp := &pb.DeleteRangeResponse{}
	var each func(key []byte, v *mvcc.Version)
	if q.PrevKv {
		each = func(key []byte, v *mvcc.Version) { resp.PrevKvs = append(resp.PrevKvs, v.KeyValue(key)) }
	}
	var err error
	resp.Deleted, err = r.deleteKeys(command.SpanOf(q.Key, q.RangeEnd), each)
	if err != nil {
		return nil, err
	}
	resp.Header = &pb.ResponseHeader{Revision: r.now()}
	return resp, nil
}

func (r *run) compact(q *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	next, err := r.state.Compacted(q.Revision)
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

func (r *run) leaseGrant(q *pb.LeaseGrantRequest, again bool) (*pb.LeaseGrantResponse, error) {
	switch {
	case q.ID == 0:
		return nil, refusal{command.ErrLeaseNotFound}
	case q.TTL > lease.MaxTTL:
		return nil, refusal{command.ErrLeaseTTLTooLarge}
	case r.leases.Has(q.ID) && !again:
		return nil, refusal{command.ErrLeaseExists}
	}
	ttl := max(q.TTL, lease.MinTTL)
	if err := r.grant(q.ID, ttl); err != nil {
		return nil, err
	}
	return &pb.LeaseGrantResponse{Header: &pb.ResponseHeader{Revision: r.now()}, ID: q.ID, TTL: ttl}, nil
}

// leaseRevoke deletes the keys attached to the lease, all at one revision, and the lease. A bare one has to have none.
func (r *run) leaseRevoke(q *pb.LeaseRevokeRequest, bare bool) (*pb.LeaseRevokeResponse, error) {
	if !r.leases.Has(q.ID) {
		return nil, refusal{command.ErrLeaseNotFound}
	}
	keys, err := r.attached(q.ID)
	if err != nil {
		return nil, err
	}
	if bare && len(keys) > 0 {
		return nil, refusal{command.ErrParted}
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
