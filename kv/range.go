package kv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// view is what a request sees: a reader, the newest revision it may see, and the state that says what can be read.
type view struct {
	reader
	now   int64
	state *state
	keys  *keySet // that exist at now; nil if they have to be counted by a scan
}

// fetch is a scan that stops after limit keys if those of sp are counted already.
func (v view) fetch(ctx context.Context, sp span, rev, limit int64, visit visitor) (count int64, err error) {
	if v.keys == nil || rev != v.now || limit == maxKeys {
		return v.scan(ctx, sp, rev, limit, visit)
	}
	count = v.keys.count(sp)
	left := min(limit, count)
	if left == 0 {
		return count, nil
	}
	_, err = v.scan(ctx, sp, rev, left, func(key []byte, ver *version) error {
		if err := visit(key, ver); err != nil {
			return err
		}
		if left--; left == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return count, err
}

// Range answers r from what this node has: at r.Revision, or at the current revision if that is not positive. Header, count and
// contents are of one moment. It has the meaning of etcd's Range, Count without regard to limit and filters included.
// Errors: ErrCompacted, ErrFutureRevision, those of CheckRange, the context's.
func (s *Store) Range(ctx context.Context, r *pb.RangeRequest) (resp *pb.RangeResponse, err error) {
	if err := CheckRange(r); err != nil {
		return nil, err
	}
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	if newSpan(r.Key, r.RangeEnd).single() {
		return g.rangeOne(r)
	}
	err = g.read(func(v view) error {
		resp, err = v.rangeKeys(ctx, r)
		return err
	})
	return resp, err
}

// rangeOne answers r, which names one key, from memory if the key was written or read a short time ago.
func (g *generation) rangeOne(r *pb.RangeRequest) (resp *pb.RangeResponse, err error) {
	now := g.state.Load()
	v := view{now: now.revision, state: now}
	rev, err := v.at(r)
	if err != nil {
		return nil, err
	}
	h, moment, ok := g.heads.get(r.Key)
	if ok && h.main <= rev && h.whole {
		return v.answerOne(r, &h.version), nil
	}
	err = g.read(func(v view) error {
		if rev, err = v.at(r); err != nil {
			return err
		}
		ver, err := v.newest(r.Key, rev)
		if err != nil {
			return err
		}
		if rev == v.now && ver.exists() {
			g.heads.offer(r.Key, ver, moment)
		}
		resp = v.answerOne(r, &ver)
		return nil
	})
	return resp, err
}

// read calls f with a view of the current revision.
func (s *Store) read(f func(v view) error) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	return g.read(f)
}

func (g *generation) read(f func(v view) error) error {
	// What is read at a revision never changes until it is compacted away. So it is enough that the revision is loaded before the
	// iterator is made, and the compaction revision, which is published before anything is removed, after.
	before := g.state.Load()
	snapshot, err := newSnapshotReader(g.db)
	if err != nil {
		return err
	}
	return closeAfter(snapshot, f(view{reader: snapshot, now: before.revision, state: g.state.Load(), keys: before.keys}))
}

// at returns the revision at which r reads, if it can.
func (v view) at(r *pb.RangeRequest) (int64, error) {
	rev := r.Revision
	if rev <= 0 {
		rev = v.now
	}
	if rev > v.now {
		return 0, ErrFutureRevision
	}
	if v.state.compactedAt(rev) != 0 {
		return 0, ErrCompacted
	}
	return rev, nil
}

func (v view) rangeKeys(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	rev, err := v.at(r)
	if err != nil {
		return nil, err
	}
	sp := newSpan(r.Key, r.RangeEnd)
	if sp.single() {
		ver, err := v.newest(r.Key, rev)
		if err != nil {
			return nil, err
		}
		return v.answerOne(r, &ver), nil
	}
	resp := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: v.now}}
	var slab keyValueSlab
	dropValues := r.KeysOnly && r.SortTarget != pb.RangeRequest_VALUE
	resp.Count, err = v.fetch(ctx, sp, rev, fetchLimit(r), func(key []byte, ver *version) error {
		resp.Kvs = append(resp.Kvs, slab.add(key, ver, dropValues))
		return nil
	})
	if err != nil {
		return nil, err
	}
	finishRange(r, resp)
	return resp, nil
}

// oneKey is the answer about one key, in one piece.
type oneKey struct {
	response pb.RangeResponse
	header   pb.ResponseHeader
	kv       mvccpb.KeyValue
	kvs      [1]*mvccpb.KeyValue
}

// answerOne answers r, which names one key, of which ver is the version that it asks for.
func (v view) answerOne(r *pb.RangeRequest, ver *version) *pb.RangeResponse {
	one := &oneKey{}
	resp := &one.response
	resp.Header = &one.header
	resp.Header.Revision = v.now
	if !ver.exists() {
		return resp
	}
	resp.Count = 1
	if r.CountOnly {
		return resp
	}
	found := *ver
	if r.KeysOnly {
		found.value = nil
	}
	found.fill(&one.kv, r.Key)
	one.kvs[0] = &one.kv
	resp.Kvs = one.kvs[:]
	if hasFilters(r) {
		finishRange(r, resp)
	}
	return resp
}

// fetchLimit is how many keys have to be fetched to answer r: one more than asked for, to know whether there are more, and
// all if some may be filtered out or come in another order.
func fetchLimit(r *pb.RangeRequest) int64 {
	switch {
	case r.CountOnly:
		return 0
	case r.Limit <= 0 || r.Limit == math.MaxInt64 || hasFilters(r) || !inKeyOrder(r.SortTarget, r.SortOrder):
		return maxKeys
	}
	return r.Limit + 1
}

func hasFilters(r *pb.RangeRequest) bool {
	return r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0
}

func inKeyOrder(target pb.RangeRequest_SortTarget, order pb.RangeRequest_SortOrder) bool {
	return order == pb.RangeRequest_NONE || (target == pb.RangeRequest_KEY && order == pb.RangeRequest_ASCEND)
}

// finishRange filters, sorts and cuts what was fetched in order of keys.
func finishRange(r *pb.RangeRequest, resp *pb.RangeResponse) {
	if hasFilters(r) {
		resp.Kvs = slices.DeleteFunc(resp.Kvs, func(kv *mvccpb.KeyValue) bool { return filteredOut(r, kv) })
	}
	order := r.SortOrder
	if order == pb.RangeRequest_NONE && r.SortTarget != pb.RangeRequest_KEY {
		order = pb.RangeRequest_ASCEND
	}
	if !inKeyOrder(r.SortTarget, order) {
		compare := comparison(r.SortTarget)
		slices.SortStableFunc(resp.Kvs, func(a, b *mvccpb.KeyValue) int {
			if order == pb.RangeRequest_DESCEND {
				a, b = b, a
			}
			return compare(a, b)
		})
	}
	if r.Limit > 0 && int64(len(resp.Kvs)) > r.Limit {
		resp.Kvs, resp.More = resp.Kvs[:r.Limit], true
	}
	if r.KeysOnly {
		for _, kv := range resp.Kvs {
			kv.Value = nil
		}
	}
}

func filteredOut(r *pb.RangeRequest, kv *mvccpb.KeyValue) bool {
	return (r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision) ||
		(r.MinModRevision != 0 && kv.ModRevision < r.MinModRevision) ||
		(r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision) ||
		(r.MinCreateRevision != 0 && kv.CreateRevision < r.MinCreateRevision)
}

func comparison(target pb.RangeRequest_SortTarget) func(a, b *mvccpb.KeyValue) int {
	switch target {
	case pb.RangeRequest_VERSION:
		return func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.Version, b.Version) }
	case pb.RangeRequest_CREATE:
		return func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) }
	case pb.RangeRequest_MOD:
		return func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) }
	case pb.RangeRequest_VALUE:
		return func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Value, b.Value) }
	}
	return func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) }
}

// keyValueSlab makes the key-values of one response, in blocks: a few allocations instead of two a key.
type keyValueSlab struct {
	free  []mvccpb.KeyValue
	bytes []byte
	next  int
}

const (
	slabFirst    = 1
	slabMost     = 256
	slabMaxBytes = 64 << 10
)

func (s *keyValueSlab) add(key []byte, v *version, keysOnly bool) *mvccpb.KeyValue {
	if len(s.free) == 0 {
		s.next = min(max(s.next*4, slabFirst), slabMost)
		s.free = make([]mvccpb.KeyValue, s.next)
	}
	kv := &s.free[0]
	s.free = s.free[1:]
	kv.Key = s.copy(key)
	if len(v.value) > 0 && !keysOnly {
		kv.Value = s.copy(v.value)
	}
	kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease = v.create, v.main, v.number, v.lease
	return kv
}

func (s *keyValueSlab) copy(p []byte) []byte {
	if len(p) > cap(s.bytes)-len(s.bytes) {
		s.bytes = make([]byte, 0, max(len(p), min(s.next*(len(p)+16), slabMaxBytes)))
	}
	n := len(s.bytes)
	s.bytes = append(s.bytes, p...)
	return s.bytes[n:len(s.bytes):len(s.bytes)]
}
