package replay

import (
	"context"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// generator draws requests as clients make them, which know some of the revisions. No two leases have one identity.
type generator struct {
	*rand.Rand
	leases int
}

func newGenerator(seed, stream uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, stream))}
}

// lease is one that there is, was, or will be next.
func (g *generator) lease() int64 { return int64(1 + g.IntN(g.leases+1)) }

func (g *generator) key() []byte { return []byte{'a' + byte(g.IntN(6))} }

func (g *generator) end() []byte {
	return [][]byte{nil, nil, nil, {0}, []byte("c"), []byte("e")}[g.IntN(6)]
}

func (g *generator) put() *pb.PutRequest {
	p := &pb.PutRequest{Key: g.key(), Value: []byte{'0' + byte(g.IntN(4))}}
	switch g.IntN(8) {
	case 0:
		p.IgnoreValue, p.Value = true, nil
	case 1:
		p.IgnoreLease = true
	case 2, 3:
		p.Lease = g.lease()
	}
	return p
}

func (g *generator) compare(h *history) *pb.Compare {
	c := &pb.Compare{Key: g.key(), RangeEnd: g.end(), Result: pb.Compare_CompareResult(g.IntN(4))}
	if g.IntN(2) == 0 {
		c.Result = pb.Compare_EQUAL
	}
	revision := int64(0)
	r, err := h.Range(context.Background(), &pb.RangeRequest{Key: c.Key})
	if err == nil && len(r.Kvs) > 0 && g.IntN(4) > 0 {
		revision = r.Kvs[0].ModRevision
	}
	switch c.Target = pb.Compare_CompareTarget(g.IntN(5)); c.Target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: int64(g.IntN(3))}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: revision}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: revision}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: []byte{'0' + byte(g.IntN(4))}}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: int64(g.IntN(3))}
	}
	return c
}

func (g *generator) txn(h *history, depth int) *pb.TxnRequest {
	q := &pb.TxnRequest{}
	for range g.IntN(3) {
		q.Compare = append(q.Compare, g.compare(h))
	}
	for _, ops := range []*[]*pb.RequestOp{&q.Success, &q.Failure} {
		for range g.IntN(3) {
			op := &pb.RequestOp{}
			switch kind := g.IntN(8); {
			case kind < 4:
				op.Request = &pb.RequestOp_RequestPut{RequestPut: g.put()}
			case kind < 6:
				op.Request = &pb.RequestOp_RequestDeleteRange{
					RequestDeleteRange: &pb.DeleteRangeRequest{Key: g.key(), RangeEnd: g.end()}}
			case kind < 7 && depth > 0:
				op.Request = &pb.RequestOp_RequestTxn{RequestTxn: g.txn(h, depth-1)}
			default:
				op.Request = &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: g.key()}}
			}
			*ops = append(*ops, op)
		}
	}
	return q
}

func (g *generator) request(h *history) proto.Message {
	switch kind := g.IntN(20); {
	case kind < 7:
		return g.put()
	case kind < 9:
		return &pb.DeleteRangeRequest{Key: g.key(), RangeEnd: g.end()}
	case kind < 17:
		for {
			if q := g.txn(h, 1); command.CheckTxn(q, 128) == nil {
				return q
			}
		}
	case kind < 18 && g.leases > 0:
		return &pb.LeaseRevokeRequest{ID: g.lease()}
	}
	g.leases++
	return &pb.LeaseGrantRequest{ID: int64(g.leases), TTL: 60}
}
