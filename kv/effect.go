package kv

import (
	"cmp"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
)

const (
	// changeBytes is about what a node needs to make one change, beside the key, which it needs twice, and the value.
	changeBytes = 256
	// answerCopies is how often what a transaction answers is held at a time: read, as the response, encoded, with the
	// write until its caller has it, and once more on its way to the node that forwarded it. Each node makes the
	// answer, and those of several transactions lie beside each other.
	answerCopies = 16
)

// effect counts what a request does.
type effect struct {
	view
	db     pebble.Reader // that of view
	values bool          // deleted and replaced ones are held in memory, because a watcher wants them
	limit  int64
	bytes  int64
	times  int64 // that what is counted now is held
}

// Estimator estimates what requests cost before they are proposed. It is safe for concurrent use.
type Estimator struct{ store *Store }

// Estimator returns one for the content as it is when it is asked.
func (s *Store) Estimator() Estimator { return Estimator{s} }

// Delete estimates how many bytes each node needs to do r, as things are here now. It counts no further than just over
// limit. Of a single key only the value is counted, if it is wanted: the request bounds the rest.
func (e Estimator) Delete(ctx context.Context, r *pb.DeleteRangeRequest, limit int64) (bytes int64, err error) {
	return e.count(limit, func(e *effect) error { return e.deletes(ctx, r) })
}

// Put is Delete for one that answers the value that it replaces.
func (e Estimator) Put(r *pb.PutRequest, limit int64) (bytes int64, err error) {
	return e.count(limit, func(e *effect) error { return e.put(r) })
}

// Txn is Delete for a transaction: of the branch that does more, with what its ranges answer and its comparisons read.
func (e Estimator) Txn(ctx context.Context, r *pb.TxnRequest, limit int64) (bytes int64, err error) {
	return e.count(limit, func(e *effect) error { return e.txn(ctx, r) })
}

func (e Estimator) count(limit int64, count func(e *effect) error) (bytes int64, err error) {
	s := e.store
	g, err := s.acquire()
	if err != nil {
		return 0, err
	}
	defer g.release()
	err = g.read(func(v view) error {
		e := &effect{view: v, db: g.db, values: s.watchers.Wanted() == watch.EventsWithPrevious, limit: limit}
		err := count(e)
		bytes = e.bytes
		return err
	})
	return bytes, err
}

// Revoke is Delete for the end of a lease with its keys.
func (e Estimator) Revoke(ctx context.Context, id, limit int64) (bytes int64, err error) {
	return e.count(limit, func(e *effect) error { return e.revoke(ctx, id) })
}

func (e *effect) revoke(ctx context.Context, id int64) error {
	e.times = 1
	err := eachAttached(e.db, id, func(key []byte) (err error) {
		e.bytes += changeBytes + 2*int64(len(key))
		if e.values {
			err = e.single(key, e.now)
		}
		if err == nil && e.bytes > e.limit {
			err = errEnough
		}
		return cmp.Or(err, context.Cause(ctx))
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (e *effect) txn(ctx context.Context, r *pb.TxnRequest) error {
	if err := e.compares(ctx, r.Compare); err != nil {
		return err
	}
	before, most := e.bytes, e.bytes
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		e.bytes = before
		for _, op := range branch {
			if err := e.op(ctx, op); err != nil {
				return err
			}
		}
		most = max(most, e.bytes)
	}
	e.bytes = most
	return nil
}

func (e *effect) op(ctx context.Context, op *pb.RequestOp) error {
	switch {
	case op.GetRequestDeleteRange() != nil:
		return e.deletes(ctx, op.GetRequestDeleteRange())
	case op.GetRequestTxn() != nil:
		return e.txn(ctx, op.GetRequestTxn())
	case op.GetRequestRange() != nil:
		r := op.GetRequestRange()
		if r.CountOnly {
			return nil
		}
		rev := e.now
		if r.Revision > 0 { // one that cannot be read is refused where it is applied
			rev = min(rev, r.Revision)
		}
		e.times = answerCopies
		return e.span(ctx, command.SpanOf(r.Key, r.RangeEnd), rev, fetchLimit(r), !r.KeysOnly)
	case op.GetRequestPut() != nil:
		return e.put(op.GetRequestPut())
	}
	return nil
}

func (e *effect) put(r *pb.PutRequest) error {
	switch {
	case r.PrevKv:
		e.times = answerCopies
	case e.values:
		e.times = 1
	default:
		return nil
	}
	return e.single(r.Key, e.now)
}

// compares adds the keys that comparisons of spans go through, up to the first that does not hold.
func (e *effect) compares(ctx context.Context, all []*pb.Compare) error {
	for _, c := range all {
		sp := command.SpanOf(c.Key, c.RangeEnd)
		if sp.Single() {
			continue
		}
		_, err := e.Scan(ctx, sp, e.now, mvcc.NoLimit, func(key []byte, v *mvcc.Version) error {
			e.bytes += changeBytes + 2*int64(len(key))
			if e.bytes > e.limit || !compareVersion(c, v) {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (e *effect) deletes(ctx context.Context, r *pb.DeleteRangeRequest) error {
	e.times = 1
	if r.PrevKv {
		e.times = answerCopies
	}
	return e.span(ctx, command.SpanOf(r.Key, r.RangeEnd), e.now, mvcc.NoLimit, r.PrevKv || e.values)
}

// single adds the value of one key. The key is bounded by the request that names it.
func (e *effect) single(key []byte, rev int64) error {
	if e.bytes > e.limit {
		return nil
	}
	v, err := e.Newest(key, rev)
	e.bytes += e.times * int64(len(v.Value))
	return err
}

// span adds the keys of a span as they were at rev, no more than most of them.
func (e *effect) span(ctx context.Context, sp command.Span, rev, most int64, values bool) error {
	switch {
	case e.bytes > e.limit, sp.Single() && !values:
		return nil
	case sp.Single():
		return e.single(sp.Start, rev)
	}
	_, err := e.Scan(ctx, sp, rev, mvcc.NoLimit, func(key []byte, v *mvcc.Version) error {
		bytes := changeBytes + 2*int64(len(key))
		if values {
			bytes += int64(len(v.Value))
		}
		e.bytes += e.times * bytes
		if most--; most == 0 || e.bytes > e.limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}
