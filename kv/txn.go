package kv

import (
	"bytes"
	"cmp"
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// ReadOnlyTxn does a transaction that IsReadOnly, at the current revision, from what this node has. Errors:
// ErrCompacted and ErrFutureRevision of its ranges, the context's.
//
// It asks take while the answer grows, and fails with its error. It may be nil.
func (s *Store) ReadOnlyTxn(ctx context.Context, r *pb.TxnRequest, take Take) (resp *pb.TxnResponse, err error) {
	if !command.IsReadOnly(r) {
		return nil, errors.New("kv: transaction writes")
	}
	err = s.read(func(v view) error {
		v.take = take
		e := evaluation{view: v}
		if resp, err = e.txn(ctx, r); err == nil {
			resp.Header.Revision = v.now
		}
		return err
	})
	return resp, err
}

// evaluation does one transaction. As in etcd, all comparisons, nested ones included, are made and all requests are
// checked before anything is changed; then the operations see the changes of those before them.
type evaluation struct {
	view view // as the transaction found it
	run  *run // nil in a read-only transaction
}

// branch is a transaction of which it is known which operations are to be done.
type branch struct {
	succeeded bool
	ops       []*pb.RequestOp
	nested    []*branch // of the nested transactions in ops, in order
}

func (e *evaluation) txn(ctx context.Context, q *pb.TxnRequest) (*pb.TxnResponse, error) {
	b, err := e.choose(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := e.check(b); err != nil {
		return nil, err
	}
	return e.do(ctx, b)
}

// choose makes the comparisons.
func (e *evaluation) choose(ctx context.Context, q *pb.TxnRequest) (*branch, error) {
	b := &branch{succeeded: true, ops: q.Success}
	for _, c := range q.Compare {
		ok, err := e.holds(ctx, c)
		if err != nil {
			return nil, err
		}
		if !ok {
			b.succeeded, b.ops = false, q.Failure
			break
		}
	}
	for _, op := range b.ops {
		if n := op.GetRequestTxn(); n != nil {
			nested, err := e.choose(ctx, n)
			if err != nil {
				return nil, err
			}
			b.nested = append(b.nested, nested)
		}
	}
	return b, nil
}

// holds makes a comparison: of one key, or of all keys of a range.
func (e *evaluation) holds(ctx context.Context, c *pb.Compare) (bool, error) {
	missing := func() bool {
		// A value can be empty, but there is no way to say that it is missing.
		return c.Target != pb.Compare_VALUE && compareVersion(c, &mvcc.Version{})
	}
	sp := command.SpanOf(c.Key, c.RangeEnd)
	if sp.Single() {
		v, err := e.newest(sp.Start, c.Target == pb.Compare_VALUE)
		if err != nil || !v.Exists() {
			return missing(), err
		}
		return compareVersion(c, &v), nil
	}
	errFalse := errors.New("comparison is false")
	count, err := e.view.Scan(ctx, sp, e.view.now, mvcc.NoLimit, func(_ []byte, v *mvcc.Version) error {
		if !compareVersion(c, v) {
			return errFalse
		}
		return nil
	})
	switch {
	case errors.Is(err, errFalse):
		return false, nil
	case err == nil && count == 0:
		return missing(), nil
	}
	return err == nil, err
}

// newest returns the newest version of key, its value only if that is needed.
func (e *evaluation) newest(key []byte, needValue bool) (mvcc.Version, error) {
	if e.run != nil && !needValue {
		return e.run.current(key, false)
	}
	return e.view.Newest(key, e.view.now)
}

func compareVersion(c *pb.Compare, v *mvcc.Version) bool {
	var result int
	switch c.Target {
	case pb.Compare_VALUE:
		result = bytes.Compare(v.Value, c.GetValue())
	case pb.Compare_CREATE:
		result = cmp.Compare(v.Create, c.GetCreateRevision())
	case pb.Compare_MOD:
		result = cmp.Compare(v.Main, c.GetModRevision())
	case pb.Compare_VERSION:
		result = cmp.Compare(v.Number, c.GetVersion())
	case pb.Compare_LEASE:
		result = cmp.Compare(v.Lease, c.GetLease())
	}
	switch c.Result {
	case pb.Compare_EQUAL:
		return result == 0
	case pb.Compare_NOT_EQUAL:
		return result != 0
	case pb.Compare_GREATER:
		return result > 0
	case pb.Compare_LESS:
		return result < 0
	}
	return true
}

// check refuses the transaction if one of its operations would be.
func (e *evaluation) check(b *branch) error {
	nested := b.nested
	for _, op := range b.ops {
		var err error
		switch {
		case op.GetRequestRange() != nil:
			_, err = e.view.at(op.GetRequestRange())
		case op.GetRequestPut() != nil:
			err = e.checkPut(op.GetRequestPut())
		case op.GetRequestTxn() != nil:
			err = e.check(nested[0])
			nested = nested[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPut looks for the lease before the key, as etcd does.
func (e *evaluation) checkPut(q *pb.PutRequest) error {
	if err := e.run.checkLease(q.Lease); err != nil {
		return err
	}
	if !q.IgnoreValue && !q.IgnoreLease {
		return nil
	}
	v, err := e.newest(q.Key, false)
	if err == nil && !v.Exists() {
		err = command.ErrKeyNotFound
	}
	return err
}

func (e *evaluation) do(ctx context.Context, b *branch) (*pb.TxnResponse, error) {
	resp := &pb.TxnResponse{Header: &pb.ResponseHeader{}, Succeeded: b.succeeded}
	nested := b.nested
	for _, op := range b.ops {
		one := &pb.ResponseOp{}
		var err error
		switch {
		case op.GetRequestRange() != nil:
			r := &pb.ResponseOp_ResponseRange{}
			r.ResponseRange, err = e.latest().rangeKeys(ctx, op.GetRequestRange())
			one.Response = r
		case op.GetRequestPut() != nil:
			r := &pb.ResponseOp_ResponsePut{}
			r.ResponsePut, err = e.run.put(op.GetRequestPut(), false)
			one.Response = r
		case op.GetRequestDeleteRange() != nil:
			r := &pb.ResponseOp_ResponseDeleteRange{}
			r.ResponseDeleteRange, err = e.run.deleteRange(op.GetRequestDeleteRange())
			one.Response = r
		case op.GetRequestTxn() != nil:
			r := &pb.ResponseOp_ResponseTxn{}
			r.ResponseTxn, err = e.do(ctx, nested[0])
			nested = nested[1:]
			one.Response = r
		}
		if err != nil {
			return nil, err
		}
		resp.Responses = append(resp.Responses, one)
	}
	return resp, nil
}

// latest is what the next operation sees.
func (e *evaluation) latest() view {
	if e.run != nil {
		return e.run.view()
	}
	return e.view
}
