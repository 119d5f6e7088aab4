package kv

import (
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func opRange(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func opTxn(success, failure []*pb.RequestOp) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{
		RequestTxn: &pb.TxnRequest{Success: success, Failure: failure},
	}}
}

func opDelete(key, end string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)},
	}}
}

// What a transaction reads of what it has changed itself counts too, which no node has before it is done: the answer,
// and the time to find it.
func TestEffectOfReadsOfWhatTheTransactionChanged(t *testing.T) {
	n := newNode(t)
	n.apply(put("d/1", "v"), put("d/2", "v"), put("d/3", "v"))
	const valueBytes, limit = 1000, 1 << 30
	value := strings.Repeat("v", valueBytes)
	effect := func(ops ...*pb.RequestOp) int64 {
		bytes, err := n.Estimator().Txn(t.Context(), &pb.TxnRequest{Success: ops}, limit)
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	a, b := opPut("k/a", value), opPut("k/b", value)
	span := func(r *pb.RangeRequest) *pb.RequestOp {
		r.Key, r.RangeEnd = []byte("k/"), []byte("k0")
		return opRange(r)
	}
	all := span(&pb.RangeRequest{})
	const key = answerCopies * (changeBytes + 2*3)
	const whole = key + answerCopies*valueBytes
	expect(t, "of nothing", effect(all), 0)
	expect(t, "before", effect(all, a, b), 0)
	expect(t, "of both", effect(a, b, all), 2*ownBytes+2*whole)
	expect(t, "of the first", effect(a, all, b), ownBytes+whole)
	expect(t, "of keys", effect(a, b, span(&pb.RangeRequest{KeysOnly: true})), 2*ownBytes+2*key)
	expect(t, "a count", effect(a, b, span(&pb.RangeRequest{CountOnly: true})), 2*ownBytes)
	expect(t, "of some", effect(a, b, opPut("k/c", ""), span(&pb.RangeRequest{Limit: 1})), 3*ownBytes+2*whole)
	expect(t, "one key", effect(a, b, opRange(&pb.RangeRequest{Key: []byte("k/b")})),
		int64(2*ownBytes+answerCopies*valueBytes))
	expect(t, "whether there is one", effect(a, b, opRange(&pb.RangeRequest{Key: []byte("k/b"), CountOnly: true})), 0)
	expect(t, "elsewhere", effect(a, opRange(&pb.RangeRequest{Key: []byte("x"), RangeEnd: []byte("y")})), ownBytes)
	expect(t, "what the other branch puts", effect(opTxn([]*pb.RequestOp{a}, []*pb.RequestOp{all})), 0)
	expect(t, "what a branch may have put", effect(a, opTxn([]*pb.RequestOp{b}, []*pb.RequestOp{b}), all),
		int64(3*ownBytes+3*whole))
	gone := effect(opDelete("d/", "d0"))
	expect(t, "a count of what was deleted", effect(opDelete("d/", "d0"), span(&pb.RangeRequest{CountOnly: true})),
		gone+3*ownBytes)
}

// A small request that would keep every node busy for minutes, or have it answer more than it has memory, is too large;
// one as clients make them is next to nothing.
func TestTheEffectOfManyReadsBehindManyPuts(t *testing.T) {
	n := newNode(t)
	const limit = 1 << 30
	nested := func(op func(i int) *pb.RequestOp, count int) (ops []*pb.RequestOp) {
		for i := 0; i < count; i += 100 {
			var some []*pb.RequestOp
			for j := range min(100, count-i) {
				some = append(some, op(i+j))
			}
			ops = append(ops, opTxn(some, nil))
		}
		return ops
	}
	for name, r := range map[string]*pb.RangeRequest{
		"counts": {Key: []byte("k"), RangeEnd: []byte("l"), CountOnly: true},
		"the last ones": {Key: []byte("k"), RangeEnd: []byte("l"), Limit: 1,
			SortOrder: pb.RangeRequest_DESCEND, SortTarget: pb.RangeRequest_KEY},
		"all": {Key: []byte("k"), RangeEnd: []byte("l")},
	} {
		effect := func(each int) int64 {
			ops := nested(func(i int) *pb.RequestOp { return opPut(fmt.Sprintf("k%d", i), "") }, each)
			ops = append(ops, nested(func(int) *pb.RequestOp { return opRange(r) }, each)...)
			bytes, err := n.Estimator().Txn(t.Context(), &pb.TxnRequest{Success: ops}, limit)
			if err != nil {
				t.Fatal(err)
			}
			return bytes
		}
		if bytes := effect(20_000); bytes <= limit {
			t.Errorf("%s: 20000 of them behind as many puts are %d bytes", name, bytes)
		}
		if bytes := effect(64); bytes > limit/32 {
			t.Errorf("%s: 64 of them behind as many puts are %d bytes", name, bytes)
		}
	}
}
