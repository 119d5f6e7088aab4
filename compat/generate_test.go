package compat

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// generator makes requests that hit each other often: few keys, few leases, revisions around the present.
type generator struct {
	*rand.Rand
	revision  int64 // the newest known
	compacted int64
	forward   bool // no range ends before it begins
}

// keys are, together with the one that the duel itself puts, no more than twelve: etcd's sort is not stable for more.
var keys = []string{"a", "a/1", "a/2", "a/b/c", "a0", "b", "c", "c\x00", "d\xff", "\x00", "\xff\xff"}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 1)), revision: 1}
}

// oneIn is true once in n times.
func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func (g *generator) key() []byte {
	if g.oneIn(60) {
		return nil
	}
	return []byte(pick(g, keys...))
}

// span returns a key and a range end of every kind.
func (g *generator) span() (key, end []byte) {
	key, end = g.anySpan()
	if g.forward && len(end) > 0 && string(end) != "\x00" && bytes.Compare(key, end) >= 0 {
		key, end = end, append(key, 0)
	}
	return key, end
}

func (g *generator) anySpan() (key, end []byte) {
	key = g.key()
	switch g.IntN(8) {
	case 0, 1:
		return key, nil
	case 2:
		return key, []byte{0} // from the key on
	case 3:
		return []byte{0}, []byte{0} // everything
	case 4:
		return []byte("a/"), []byte("a0")
	case 5:
		return []byte("a"), []byte("c")
	default:
		return key, g.key() // also backwards and empty
	}
}

func (g *generator) value() []byte {
	switch g.IntN(12) {
	case 0:
		return nil
	case 1:
		return make([]byte, g.IntN(3000))
	}
	return fmt.Appendf(nil, "v%d", g.IntN(20))
}

func (g *generator) leaseID() int64 { return int64(g.IntN(6)) }

// pastRevision returns a revision around those that can be read, mostly zero.
func (g *generator) pastRevision() int64 {
	switch g.IntN(6) {
	case 0:
		return g.compacted + int64(g.IntN(3)) - 1
	case 1:
		return g.revision + int64(g.IntN(4)) - 2
	case 2:
		return g.Int64N(g.revision+1) + 1
	}
	return 0
}

// bound returns a bound for revisions, mostly none.
func (g *generator) bound() int64 {
	if g.oneIn(8) {
		return g.Int64N(g.revision + 2)
	}
	return 0
}

func (g *generator) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: g.key(), Value: g.value(), PrevKv: g.oneIn(3)}
	if g.oneIn(4) {
		r.Lease = g.leaseID()
	}
	if g.oneIn(8) {
		r.IgnoreValue = true
		if !g.oneIn(3) {
			r.Value = nil
		}
	}
	if g.oneIn(8) {
		r.IgnoreLease = true
		if !g.oneIn(3) {
			r.Lease = 0
		}
	}
	return r
}

func (g *generator) rangeRequest() *pb.RangeRequest {
	r := &pb.RangeRequest{Revision: g.pastRevision(), Serializable: g.oneIn(3)}
	r.Key, r.RangeEnd = g.span()
	if g.oneIn(3) {
		r.Limit = int64(g.IntN(6)) - 1
	}
	if g.oneIn(3) {
		r.SortOrder = pb.RangeRequest_SortOrder(g.IntN(3))
		r.SortTarget = pb.RangeRequest_SortTarget(g.IntN(5))
	}
	if g.oneIn(60) {
		r.SortOrder = 9
	}
	if g.oneIn(60) {
		r.SortTarget = 9
	}
	r.KeysOnly, r.CountOnly = g.oneIn(5), g.oneIn(5)
	r.MinModRevision, r.MaxModRevision = g.bound(), g.bound()
	r.MinCreateRevision, r.MaxCreateRevision = g.bound(), g.bound()
	return r
}

func (g *generator) streamRequest() *pb.RangeRequest {
	r := g.rangeRequest()
	if r.SortOrder == pb.RangeRequest_NONE {
		r.SortTarget = pb.RangeRequest_KEY // etcd sorts chunk by chunk, and counts wrongly then
	}
	if !g.oneIn(6) {
		r.SortOrder, r.SortTarget = pb.RangeRequest_NONE, pb.RangeRequest_KEY
		r.MinModRevision, r.MaxModRevision, r.MinCreateRevision, r.MaxCreateRevision = 0, 0, 0, 0
	}
	return r
}

func (g *generator) hash() *pb.HashKVRequest {
	r := &pb.HashKVRequest{Revision: g.pastRevision()}
	if r.Revision <= g.compacted {
		r.Revision = 0 // etcd still knows the hashes of some compacted revisions
	}
	return r
}

func (g *generator) deleteRange() *pb.DeleteRangeRequest {
	r := &pb.DeleteRangeRequest{PrevKv: g.oneIn(3)}
	r.Key, r.RangeEnd = g.span()
	if g.oneIn(2) {
		r.RangeEnd = nil // otherwise there is seldom anything left
	}
	return r
}

func (g *generator) txn(depth int) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range g.IntN(3) {
		r.Compare = append(r.Compare, g.compare())
	}
	r.Success, r.Failure = g.operations(depth), g.operations(depth)
	if g.oneIn(50) {
		for i := range 130 {
			r.Success = append(r.Success, putOperation(&pb.PutRequest{Key: fmt.Appendf(nil, "many/%d", i)}))
		}
	}
	return r
}

func (g *generator) operations(depth int) []*pb.RequestOp {
	var ops []*pb.RequestOp
	for range g.IntN(4) {
		switch n := g.IntN(12); {
		case n < 5:
			ops = append(ops, putOperation(g.put()))
		case n < 8:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest()}})
		case n < 10:
			r := g.deleteRange()
			if string(r.RangeEnd) == "\x00" {
				r.RangeEnd = []byte("\xff\xff\xff") // etcd does not see that an unbounded range and a put overlap
			}
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}})
		case n == 10 && depth > 0:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txn(depth - 1)}})
		case g.oneIn(8):
			ops = append(ops, &pb.RequestOp{})
		}
	}
	return ops
}

func putOperation(r *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
}

func (g *generator) compare() *pb.Compare {
	c := &pb.Compare{Result: pb.Compare_CompareResult(g.IntN(4)), Target: pb.Compare_CompareTarget(g.IntN(5))}
	c.Key, c.RangeEnd = g.span()
	if g.oneIn(2) {
		c.RangeEnd = nil
	}
	number := pick(g, 0, 1, 2, g.revision, g.Int64N(g.revision+1))
	switch c.Target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: number}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: number}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: number}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: g.leaseID()}
	}
	if g.oneIn(20) {
		c.TargetUnion = nil
	}
	return c
}

func (g *generator) compaction() *pb.CompactionRequest {
	at := g.compacted + g.Int64N(max(g.revision-g.compacted, 1)+3) - 1
	r := &pb.CompactionRequest{Revision: at, Physical: g.oneIn(4)}
	if r.Revision == 0 {
		r.Revision = 1 // etcd answers HashKV of the current revision wrongly once it has compacted revision 0
	}
	return r
}

func (g *generator) grant() *pb.LeaseGrantRequest {
	id := g.leaseID() + 1
	return &pb.LeaseGrantRequest{ID: id, TTL: pick[int64](g, 1000, 2000, 3000, 9_000_000_000, 9_000_000_001)}
}

func (g *generator) watch() *pb.WatchCreateRequest {
	r := &pb.WatchCreateRequest{PrevKv: g.oneIn(2), Fragment: g.oneIn(3), ProgressNotify: g.oneIn(5)}
	r.Key, r.RangeEnd = g.span()
	if g.oneIn(2) {
		r.StartRevision = max(g.revision-int64(g.IntN(30))+3, -1)
	}
	if g.oneIn(3) {
		r.WatchId = int64(g.IntN(6))
	}
	for g.oneIn(4) {
		r.Filters = append(r.Filters, pb.WatchCreateRequest_FilterType(g.IntN(2)))
	}
	return r
}
