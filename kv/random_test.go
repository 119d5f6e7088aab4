package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// Generators of requests. Keys hold bytes that need escaping, and each other as prefixes.
var keys = rapid.SampledFrom([]string{
	"a", "a\x00", "a\x00\x01", "a\x00\xff", "ab", "b", "b\xff", "b\x0e", "\x00", "\xff", "c/0123456789abc\x0e",
})

func genKey(t *rapid.T) []byte { return []byte(keys.Draw(t, "key")) }

func genEnd(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom([]string{"", "", "\x00", "b", "a\x00\x02", "c", "\xff\xff"}).Draw(t, "end"))
}

func genRevision(t *rapid.T, m *model) int64 {
	if rapid.Bool().Draw(t, "now") {
		return 0
	}
	return max(1, m.revision-rapid.Int64Range(-1, 12).Draw(t, "ago"))
}

func genRange(t *rapid.T, m *model) *pb.RangeRequest {
	q := &pb.RangeRequest{
		Key: genKey(t), RangeEnd: genEnd(t), Revision: genRevision(t, m),
		Limit:      rapid.Int64Range(0, 4).Draw(t, "limit"),
		SortOrder:  pb.RangeRequest_SortOrder(rapid.Int32Range(0, 2).Draw(t, "order")),
		SortTarget: pb.RangeRequest_SortTarget(rapid.Int32Range(0, 4).Draw(t, "target")),
		KeysOnly:   rapid.Bool().Draw(t, "keys only"), CountOnly: rapid.IntRange(0, 9).Draw(t, "count only") == 0,
	}
	if rapid.IntRange(0, 3).Draw(t, "filter") == 0 {
		q.MinModRevision, q.MaxCreateRevision = genRevision(t, m), genRevision(t, m)
		q.MaxModRevision, q.MinCreateRevision = genRevision(t, m), genRevision(t, m)
	}
	return q
}

func genPut(t *rapid.T) *pb.PutRequest {
	q := &pb.PutRequest{Key: genKey(t), PrevKv: rapid.IntRange(0, 2).Draw(t, "prev") == 0}
	switch rapid.IntRange(0, 7).Draw(t, "ignore") {
	case 0:
		q.IgnoreValue = true
	case 1:
		q.IgnoreLease = true
	}
	if !q.IgnoreValue {
		q.Value = rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "value")
	}
	if !q.IgnoreLease && rapid.IntRange(0, 2).Draw(t, "leased") == 0 {
		q.Lease = rapid.Int64Range(1, 3).Draw(t, "lease")
	}
	return q
}

func genDelete(t *rapid.T) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: genKey(t), RangeEnd: genEnd(t), PrevKv: rapid.Bool().Draw(t, "prev")}
}

func genCompare(t *rapid.T, m *model) *pb.Compare {
	result := func() pb.Compare_CompareResult {
		return pb.Compare_CompareResult(rapid.Int32Range(0, 3).Draw(t, "result"))
	}
	c := &pb.Compare{Key: genKey(t), RangeEnd: genEnd(t), Result: result()}
	switch c.Target = pb.Compare_CompareTarget(rapid.Int32Range(0, 4).Draw(t, "target")); c.Target {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: rapid.Int64Range(0, 3).Draw(t, "version")}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: genRevision(t, m)}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: genRevision(t, m)}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: rapid.SliceOfN(rapid.Byte(), 0, 2).Draw(t, "value")}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: rapid.Int64Range(0, 3).Draw(t, "lease")}
	}
	return c
}

func genTxn(t *rapid.T, m *model, depth int) *pb.TxnRequest {
	q := &pb.TxnRequest{}
	for range rapid.IntRange(0, 2).Draw(t, "compares") {
		q.Compare = append(q.Compare, genCompare(t, m))
	}
	for _, branch := range []*[]*pb.RequestOp{&q.Success, &q.Failure} {
		for range rapid.IntRange(0, 3).Draw(t, "ops") {
			op := &pb.RequestOp{}
			switch kind := rapid.IntRange(0, 6).Draw(t, "op"); {
			case kind <= 1:
				op.Request = &pb.RequestOp_RequestRange{RequestRange: genRange(t, m)}
			case kind <= 3:
				op.Request = &pb.RequestOp_RequestPut{RequestPut: genPut(t)}
			case kind <= 5 || depth == 0:
				op.Request = &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: genDelete(t)}
			default:
				op.Request = &pb.RequestOp_RequestTxn{RequestTxn: genTxn(t, m, depth-1)}
			}
			*branch = append(*branch, op)
		}
	}
	return q
}

// genRequest draws a request that has passed its structural checks.
func genRequest(t *rapid.T, m *model) any {
	switch kind := rapid.IntRange(0, 19).Draw(t, "request"); {
	case kind < 8:
		return genPut(t)
	case kind < 11:
		return genDelete(t)
	case kind < 16:
		if q := genTxn(t, m, 2); command.CheckTxn(q, 128) == nil {
			return q
		}
		return genPut(t)
	case kind == 16:
		return &pb.CompactionRequest{Revision: genRevision(t, m)}
	case kind == 17:
		return &pb.LeaseRevokeRequest{ID: rapid.Int64Range(1, 3).Draw(t, "lease")}
	}
	return &pb.LeaseGrantRequest{
		ID: rapid.Int64Range(1, 3).Draw(t, "lease"), TTL: rapid.Int64Range(0, 5).Draw(t, "ttl"),
	}
}

func encodeRequest(q any) []byte {
	switch q := q.(type) {
	case *pb.PutRequest:
		return command.EncodePut(q)
	case *pb.DeleteRangeRequest:
		return command.EncodeDeleteRange(q)
	case *pb.TxnRequest:
		return command.EncodeTxn(q)
	case *pb.CompactionRequest:
		return command.EncodeCompaction(q)
	case *pb.LeaseGrantRequest:
		return command.EncodeLeaseGrant(q)
	}
	return command.EncodeLeaseRevoke(q.(*pb.LeaseRevokeRequest))
}

func decodeFor(q any, result []byte) (proto.Message, error) {
	switch q.(type) {
	case *pb.PutRequest:
		return command.DecodePutResult(result)
	case *pb.DeleteRangeRequest:
		return command.DecodeDeleteRangeResult(result)
	case *pb.TxnRequest:
		return command.DecodeTxnResult(result)
	case *pb.CompactionRequest:
		return command.DecodeCompactionResult(result)
	case *pb.LeaseGrantRequest:
		return command.DecodeLeaseGrantResult(result)
	}
	return command.DecodeLeaseRevokeResult(result)
}

// same compares a response with the model's.
func same(t *rapid.T, q any, got proto.Message, gotErr error, want any, wantErr error) {
	t.Helper()
	if gotErr != nil || wantErr != nil {
		if !errors.Is(gotErr, wantErr) {
			t.Fatalf("%T %v:\n got error %v\nwant error %v", q, q, gotErr, wantErr)
		}
		return
	}
	if !proto.Equal(got, want.(proto.Message)) {
		t.Fatalf("%T %v:\n got %v\nwant %v", q, q, got, want)
	}
}

// scratch is a node for one run of a property.
func scratch(t *rapid.T) (*node, func()) {
	s, err := Open(Options{FS: vfs.NewMem(), Dir: "store", MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return &node{Store: s}, func() { s.Close() }
}

func (n *node) applyAll(t *rapid.T, qs []any) [][]byte {
	b := &replication.Batch{First: n.metadata.Position + 1, Metadata: &n.metadata, WantResults: true}
	for _, q := range qs {
		b.Commands = append(b.Commands, replication.Command{Data: encodeRequest(q)})
	}
	n.metadata.Position += replication.Position(len(qs))
	results, err := n.Apply(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Commands { // nothing may be kept of them
		clear(c.Data)
	}
	return results
}

// TestStoreDoesWhatEtcdDoes runs random requests, cut into random batches, on the store and on the model.
func TestStoreDoesWhatEtcdDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, done := scratch(t)
		defer done()
		m := newModel()
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			var qs, wants []any
			var errs []error
			for range rapid.IntRange(1, 8).Draw(t, "commands") {
				q := genRequest(t, m)
				want, err := m.apply(q)
				qs, wants, errs = append(qs, q), append(wants, want), append(errs, err)
			}
			for i, result := range n.applyAll(t, qs) {
				got, err := decodeFor(qs[i], result)
				same(t, qs[i], got, err, wants[i], errs[i])
			}
			if rapid.IntRange(0, 9).Draw(t, "lossy") == 0 {
				if err := n.Begin(replication.Reign{Epoch: 1, Lossy: true}, &n.metadata); err != nil {
					t.Fatal(err)
				}
				m.gaps = append(m.gaps, [2]int64{m.revision, m.revision + mvcc.LossyJump})
				m.revision += mvcc.LossyJump
			}
			checkReads(t, n, m)
		}
	})
}

func checkReads(t *rapid.T, n *node, m *model) {
	t.Helper()
	if n.Revision() != m.revision || n.CompactRevision() != m.compact {
		t.Fatalf("at revision %d compacted to %d, want %d and %d", n.Revision(), n.CompactRevision(), m.revision,
			m.compact)
	}
	for range 3 {
		q := genRange(t, m)
		rev := q.Revision
		if rev == 0 {
			rev = m.revision
		}
		err := m.readable(rev)
		var want *pb.RangeResponse
		if err == nil {
			want = m.rangeKeys(q, m.revision)
		}
		got, gotErr := n.Range(t.Context(), q)
		same(t, q, got, gotErr, want, err)
		var streamed pb.RangeResponse
		gotErr = n.RangeStream(t.Context(), q, nil, func(c *pb.RangeResponse) error {
			proto.Merge(&streamed, c)
			return nil
		})
		same(t, q, &streamed, gotErr, want, err)
	}
	for id := int64(1); id <= 3; id++ {
		var want [][]byte
		for _, key := range m.live([]byte{0}, []byte{0}, m.revision) {
			if v, _ := m.at(key, m.revision); v.lease == id {
				want = append(want, []byte(key))
			}
		}
		ttl, got, ok := n.Lease(id)
		if !ok {
			if _, exists := m.leases[id]; exists || len(want) > 0 {
				t.Fatalf("lease %d is missing", id)
			}
			continue
		}
		if ttl != m.leases[id] || string(bytes.Join(got, []byte("|"))) != string(bytes.Join(want, []byte("|"))) {
			t.Fatalf("lease %d: ttl %d keys %q, want %d and %q", id, ttl, got, m.leases[id], want)
		}
	}
}

// TestBatchesDoNotMatter cuts one sequence of commands in two ways, removes old versions at different times, and asks
// for equal results, revisions and hashes (invariant 10).
func TestBatchesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		var qs []any
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			q := genRequest(t, m)
			m.apply(q)
			qs = append(qs, q)
		}
		one, done := scratch(t)
		defer done()
		two, done := scratch(t)
		defer done()
		first := one.applyAll(t, qs)
		var second [][]byte
		for rest := qs; len(rest) > 0; {
			k := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			second = append(second, two.applyAll(t, rest[:k])...)
			rest = rest[k:]
			for range rapid.IntRange(0, 1).Draw(t, "remove") {
				if err := two.compactor.finish(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range qs {
			if !bytes.Equal(first[i], second[i]) {
				t.Fatalf("%v: result %x in one batch, %x in several", qs[i], first[i], second[i])
			}
		}
		for _, rev := range []int64{0, m.revision, max(m.compact, 1), (m.revision + max(m.compact, 1)) / 2} {
			if a, b := hashString(one, rev), hashString(two, rev); a != b {
				t.Fatalf("hash at %d: %s in one batch, %s in several", rev, a, b)
			}
		}
	})
}

func hashString(n *node, rev int64) string {
	hash, compactRev, current, err := n.Hash(context.Background(), rev)
	return fmt.Sprintf("%08x %d %d %v", hash, compactRev, current, err)
}
