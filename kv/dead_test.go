package kv

import (
	"fmt"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
)

// deadNode has so many keys k/… that were deleted and not compacted, and k/5 and l behind them.
func deadNode(t *testing.T, keys int) *node {
	n := newNode(t)
	var puts [][]byte
	for i := range keys {
		puts = append(puts, put(fmt.Sprintf("k/4/%06d", i), "v"))
	}
	for some := range slices.Chunk(puts, 1000) {
		n.apply(some...)
	}
	n.apply(del("k/4/", "k/40"))
	n.apply(put("k/5", "v"), put("l", "v"))
	settle(t, n.Store)
	return n
}

// What is gone costs no time where it is applied either: nobody counts it before.
func TestWhatIsGoneIsSteppedOverWhereItIsApplied(t *testing.T) {
	const keys = 20_000
	n := deadNode(t, keys)
	g, err := n.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer g.release()
	r, err := newRun(g, n.leases.Edit(), true, watch.Nothing, n.bounds)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // between what is gone
		key := fmt.Appendf(nil, "k/4/%06d/own", 5000*(i+1))
		if err := r.change(key, &mvcc.Version{}, []byte("v"), 0, mvcc.KindPut); err != nil {
			t.Fatal(err)
		}
	}
	for what, rev := range map[string]int64{"now": r.now(), "before it": n.Revision()} {
		var found []string
		steps := 0
		err = r.readBatch(func(all *mvcc.Reader) error {
			_, err := all.Scan(t.Context(), command.SpanOf([]byte("k/"), []byte("k0")), rev, mvcc.NoLimit,
				func(key []byte, _ *mvcc.Version) error {
					found = append(found, string(key))
					return nil
				})
			steps = all.Steps()
			return err
		})
		want := []string{"k/5"}
		if rev == r.now() {
			want = []string{"k/4/005000/own", "k/4/010000/own", "k/4/015000/own", "k/5"}
		}
		if err != nil || !slices.Equal(found, want) {
			t.Errorf("%s: %q, %v", what, found, err)
		}
		if steps > keys/8 {
			t.Errorf("%s: %d steps over %d keys that are gone", what, steps, keys)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// A limit may be any number, also of keys that the transaction has put itself.
func TestAnyLimitOfTheLastKeys(t *testing.T) {
	n := newNode(t)
	var ops []*pb.RequestOp
	for i := range 3000 {
		n.apply(put(fmt.Sprintf("k/%06d", 2*i), "v"))
		ops = append(ops, opPut(fmt.Sprintf("k/%06d", 2*i+1), "v"))
	}
	settle(t, n.Store)
	r := &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0"), SortOrder: pb.RangeRequest_DESCEND,
		SortTarget: pb.RangeRequest_KEY}
	for _, limit := range []int64{1<<63 - 2, 1<<63 - 3, 1<<63 - 3000, 1<<63 - 1} {
		r.Limit = limit
		var all [][]byte
		for _, op := range append(slices.Clone(ops), opRange(r)) {
			all = append(all, txnOf(op))
		}
		answer := n.apply(all...)
		txn, err := command.DecodeTxnResult(answer[len(answer)-1])
		if err != nil {
			t.Fatal(err)
		}
		if got := txn.Responses[0].GetResponseRange(); len(got.Kvs) != 6000 || got.More {
			t.Errorf("with the limit %d: %d keys, more %v", limit, len(got.Kvs), got.More)
		}
	}
}
