package kv

import (
	"errors"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Whatever a transaction that only reads asks for, its answer asks for room as it grows: one key after the other too.
func TestEveryReadOfATransactionAsksForRoom(t *testing.T) {
	n := newNode(t)
	const valueBytes = 10 << 10
	n.apply(put("k", strings.Repeat("v", valueBytes)))
	for name, r := range map[string]*pb.RangeRequest{
		"one key": {Key: []byte("k")}, "a span": {Key: []byte("k"), RangeEnd: []byte("l")},
	} {
		op := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
		full, taken := errors.New("no room"), int64(0)
		_, err := n.ReadOnlyTxn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{op, op, op}},
			func(bytes int64) error {
				if taken += bytes; taken > 2*valueBytes {
					return full
				}
				return nil
			})
		if !errors.Is(err, full) || taken > 3*valueBytes {
			t.Errorf("%s: %v, with %d bytes", name, err, taken)
		}
	}
}
