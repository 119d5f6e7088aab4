package kv

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// fetchLimit is how many keys have to be fetched to answer r: one more than asked for, to know whether there are
// more, and all if some may be filtered out or come in another order.
func fetchLimit(r *pb.RangeRequest) int64 {
	switch {
	case r.CountOnly:
		return 0
	case r.Limit <= 0 || r.Limit == math.MaxInt64 || hasFilters(r) || !inKeyOrder(r.SortTarget, r.SortOrder):
		return mvcc.NoLimit
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
		resp.Kvs = slices.DeleteFunc(resp.Kvs, func(kv *mvccpb.KeyValue) bool {
			return filteredOut(r, kv.ModRevision, kv.CreateRevision)
		})
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

func filteredOut(r *pb.RangeRequest, mod, create int64) bool {
	return (r.MaxModRevision != 0 && mod > r.MaxModRevision) ||
		(r.MinModRevision != 0 && mod < r.MinModRevision) ||
		(r.MaxCreateRevision != 0 && create > r.MaxCreateRevision) ||
		(r.MinCreateRevision != 0 && create < r.MinCreateRevision)
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

func (s *keyValueSlab) add(key []byte, v *mvcc.Version, keysOnly bool) *mvccpb.KeyValue {
	if len(s.free) == 0 {
		s.next = min(max(s.next*4, slabFirst), slabMost)
		s.free = make([]mvccpb.KeyValue, s.next)
	}
	kv := &s.free[0]
	s.free = s.free[1:]
	kv.Key = s.copy(key)
	if len(v.Value) > 0 && !keysOnly {
		kv.Value = s.copy(v.Value)
	}
	kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease = v.Create, v.Main, v.Number, v.Lease
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
