package kv

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// doomedNode is one with a hundred keys, some of them attached to the lease 7.
func doomedNode(t *testing.T, b bounds) *node {
	n := openNodeWith(t, Options{FS: vfs.NewMem(), MemTableBytes: 1 << 20})
	n.apply(command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: 60}))
	for i := range 100 {
		n.apply(command.EncodePut(&pb.PutRequest{
			Key: fmt.Appendf(nil, "k/%04d", i), Value: []byte("v"), Lease: int64(7 * (i % 4 / 3)),
		}))
	}
	n.bounds = b
	return n
}

// applyEntries applies entries as one batch, and returns the error of each command, nil if it was done.
func (n *node) applyEntries(entries ...[][]byte) (refused []error) {
	n.t.Helper()
	b := &replication.Batch{First: n.metadata.Position + 1, Metadata: &n.metadata, WantResults: true}
	for i, e := range entries {
		for _, c := range e {
			b.Commands = append(b.Commands, replication.Command{Data: c})
		}
		n.metadata.AppliedIndex++
		if i < len(entries)-1 {
			b.Cuts = append(b.Cuts, replication.Cut{Commands: len(b.Commands), Index: n.metadata.AppliedIndex})
		}
	}
	n.metadata.Position += replication.Position(len(b.Commands))
	results, err := n.Apply(b)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, r := range results {
		var refusal error
		if r[0] != 0 {
			_, refusal = command.DecodePutResult(r)
		}
		refused = append(refused, refusal)
	}
	return refused
}

func txnOf(ops ...*pb.RequestOp) []byte { return command.EncodeTxn(&pb.TxnRequest{Success: ops}) }

// What no batch can hold is refused like what breaks a rule, whatever the command is, wherever in a transaction the
// changes are made, and with what stands before it in its entry; it changes nothing. How many entries are applied
// together makes no difference.
func TestTooLargeAnEffectIsRefusedWhereItIsApplied(t *testing.T) {
	small := bounds{batchBytes: 3200, heldBytes: 1 << 30} // for less than 66 deletions, of 48 bytes and more
	putOp := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("a")}}}
	delOp := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("k"), RangeEnd: []byte("l")},
	}}
	half, all := del("k", "k/0050"), del("k", "l")
	revoke := command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 7})
	large := command.ErrEffectTooLarge
	for name, c := range map[string]struct {
		entries [][][]byte
		refused []error
	}{
		"a delete":              {[][][]byte{{all}}, []error{large}},
		"first in a txn":        {[][][]byte{{txnOf(delOp)}}, []error{large}},
		"not first in a txn":    {[][][]byte{{txnOf(putOp, delOp)}}, []error{large}},
		"keys of a lease":       {[][][]byte{{half, revoke}}, []error{nil, large}},
		"fewer keys of a lease": {[][][]byte{{half}, {revoke, all}}, []error{nil, nil, nil}},
		"together in an entry":  {[][][]byte{{half, put("b", ""), del("k/0050", "l")}}, []error{nil, nil, large}},
		"in entries of a batch": {[][][]byte{{half}, {del("k/0050", "l")}}, []error{nil, nil}},
		"behind another entry":  {[][][]byte{{put("b", "")}, {half, del("k/0050", "l")}}, []error{nil, nil, large}},
	} {
		t.Run(name, func(t *testing.T) {
			together, alone := doomedNode(t, small), doomedNode(t, small)
			got := together.applyEntries(c.entries...)
			var one []error
			for _, e := range c.entries {
				one = append(one, alone.applyEntries(e)...)
			}
			if !slices.EqualFunc(got, c.refused, errors.Is) || !slices.EqualFunc(one, c.refused, errors.Is) {
				t.Errorf("refused %v together and %v alone, want %v", got, one, c.refused)
			}
			expectEqual(t, together, alone)
			if c.refused[0] != nil {
				expectEqual(t, together, doomedNode(t, small))
			}
		})
	}
}

func expectEqual(t *testing.T, a, b *node) {
	t.Helper()
	one, _, _, err := a.HashContent(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _, err := b.HashContent(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "content", one, other)
	expect(t, "revision", a.Revision(), b.Revision())
}

// What is applied together is bounded, whatever the commands are: a step ends with the entry that makes it too large,
// and says so in its metadata.
func TestABatchIsAppliedInStepsIfItIsLarge(t *testing.T) {
	n := doomedNode(t, bounds{batchBytes: defaultBounds.batchBytes, heldBytes: 10 * (changeBytes + 2*6)})
	b := &replication.Batch{
		First: n.metadata.Position + 1, WantResults: true, Metadata: &replication.Metadata{
			AppliedIndex: n.metadata.AppliedIndex + 4, Position: n.metadata.Position + 5, Record: []byte("record"),
		},
	}
	for i, c := range [][]byte{
		del("k", "k/0005"), del("k", "k/0030"), del("k/0030", "k/0031"), put("b", ""), put("c", ""),
	} {
		b.Commands = append(b.Commands, replication.Command{Data: c})
		if i < 3 {
			b.Cuts = append(b.Cuts, replication.Cut{
				Commands: i + 1, Index: n.metadata.AppliedIndex + uint64(i) + 1, Chain: replication.Chain{byte(i)},
			})
		}
	}
	w := newWork(n.Store, n.current.Load(), b)
	if at, err := w.step(0); err != nil || at != 2 || len(w.results) != 2 {
		t.Fatal(at, len(w.results), err)
	}
	m, err := n.Load()
	if err != nil || m.Position != b.First+1 || m.AppliedIndex != b.Cuts[1].Index || m.Chain != b.Cuts[1].Chain ||
		string(m.Record) != "record" {
		t.Fatalf("%+v, %v", m, err)
	}
	if at, err := w.step(2); err != nil || at != len(b.Commands) || len(w.results) != at {
		t.Fatal(at, len(w.results), err)
	}
	if m, err := n.Load(); err != nil || m.Position != b.Metadata.Position {
		t.Fatalf("%+v, %v", m, err)
	}
}
