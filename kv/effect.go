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
	// keptCopies is how often a value that a put keeps, which its request does not have, is held at a time: read, in
	// the batch, in the store's table in memory, and by watchers.
	keptCopies = 4
	// ownBytes stands for the time that a read takes for each change that its transaction has made before it.
	ownBytes = 32
)

// effect counts what a request does.
type effect struct {
	view
	db     pebble.Reader // that of view
	values bool          // deleted and replaced ones are held in memory, because a watcher wants them
	limit  int64
	bytes  int64
	times  int64 // that what is counted now is held
	own    own
}

// own is what a transaction has changed before an operation, whichever branches were taken.
type own struct {
	puts    []*pb.PutRequest
	deleted int64 // keys
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

// Put is Delete for one that answers the value that it replaces, or keeps it (ignore_value).
func (e Estimator) Put(r *pb.PutRequest, limit int64) (bytes int64, err error) {
	return e.count(limit, func(e *effect) error { return e.put(r) })
}

// Txn is Delete for a transaction: of the branch that does more, with what its ranges answer, of what it has put itself
// too, and its comparisons read.
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
	before, most, own := e.bytes, e.bytes, e.own
	var puts []*pb.PutRequest
	deleted := own.deleted
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		e.bytes, e.own = before, own
		for _, op := range branch {
			if err := e.op(ctx, op); err != nil {
				return err
			}
		}
		most = max(most, e.bytes)
		puts = append(puts, e.own.puts[len(own.puts):]...)
		deleted = max(deleted, e.own.deleted)
	}
	e.bytes, e.own.puts, e.own.deleted = most, append(own.puts, puts...), deleted
	return nil
}

func (e *effect) op(ctx context.Context, op *pb.RequestOp) error {
	switch {
	case op.GetRequestDeleteRange() != nil:
		return e.deletes(ctx, op.GetRequestDeleteRange())
	case op.GetRequestTxn() != nil:
		return e.txn(ctx, op.GetRequestTxn())
	case op.GetRequestRange() != nil:
		return e.ranges(ctx, op.GetRequestRange())
	case op.GetRequestPut() != nil:
		err := e.put(op.GetRequestPut())
		e.own.puts = append(e.own.puts, op.GetRequestPut())
		return err
	}
	return nil
}

func (e *effect) ranges(ctx context.Context, r *pb.RangeRequest) error {
	sp, most := command.SpanOf(r.Key, r.RangeEnd), fetchLimit(r)
	if r.CountOnly && sp.Single() {
		return nil
	}
	e.times = answerCopies
	if !r.CountOnly {
		rev := e.now
		if r.Revision > 0 { // one that cannot be read is refused where it is applied
			rev = min(rev, r.Revision)
		}
		if _, err := e.span(ctx, sp, rev, most, !r.KeysOnly); err != nil {
			return err
		}
	}
	e.ownSpan(sp, most, !r.KeysOnly)
	return nil
}

// ownSpan adds what the transaction has put itself of a span, no more than most keys, and the time that it takes to go
// through what it has changed.
func (e *effect) ownSpan(sp command.Span, most int64, values bool) {
	if !sp.Single() {
		e.bytes += ownBytes * e.own.deleted
	}
	for _, p := range e.own.puts {
		if e.bytes += ownBytes; e.bytes > e.limit {
			return
		}
		if most == 0 || !sp.Contains(p.Key) {
			continue
		}
		most--
		e.bytes += e.times * keyBytes(sp, p.Key, p.Value, values)
	}
}

// keyBytes is what a key of a span takes. That of a single one is bounded by the request that names it.
func keyBytes(sp command.Span, key, value []byte, values bool) (bytes int64) {
	if !sp.Single() {
		bytes = changeBytes + 2*int64(len(key))
	}
	if values {
		bytes += int64(len(value))
	}
	return bytes
}

func (e *effect) put(r *pb.PutRequest) error {
	e.times = 0
	if r.IgnoreValue {
		e.times += keptCopies
	}
	switch {
	case r.PrevKv:
		e.times += answerCopies
	case e.values:
		e.times++
	}
	if e.times == 0 {
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
	n, err := e.span(ctx, command.SpanOf(r.Key, r.RangeEnd), e.now, mvcc.NoLimit, r.PrevKv || e.values)
	e.own.deleted += n
	return err
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

// span adds the keys of a span as they were at rev, no more than most of them, and returns how many those are.
func (e *effect) span(
	ctx context.Context, sp command.Span, rev, most int64, values bool,
) (keys int64, err error) {
	switch {
	case e.bytes > e.limit:
		return 0, nil
	case sp.Single() && values:
		return 1, e.single(sp.Start, rev)
	case sp.Single():
		return 1, nil
	}
	_, err = e.Scan(ctx, sp, rev, mvcc.NoLimit, func(key []byte, v *mvcc.Version) error {
		e.bytes += e.times * keyBytes(sp, key, v.Value, values)
		if keys++; keys == most || e.bytes > e.limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return keys, err
}
