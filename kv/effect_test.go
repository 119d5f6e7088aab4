package kv

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/watch"
)

func TestEffect(t *testing.T) {
	for _, counted := range []int64{0, -1} {
		n := openNodeWith(t, Options{FS: vfs.NewMem(), MemTableBytes: 1 << 20, CountBytes: counted})
		const keys, keyBytes, valueBytes = 1000, 6, 100
		for i := range keys {
			n.apply(put(fmt.Sprintf("k/%04d", i), strings.Repeat("v", valueBytes)))
		}
		const one, limit = changeBytes + 2*keyBytes, 1 << 30
		all := &pb.DeleteRangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}
		previous := &pb.DeleteRangeRequest{Key: all.Key, RangeEnd: all.RangeEnd, PrevKv: true}
		del := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: all}}
		get := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{
			Key: all.Key, RangeEnd: all.RangeEnd, Limit: 9,
		}}}
		nested := &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
			Success: []*pb.RequestOp{del}, Failure: []*pb.RequestOp{get},
		}}}
		deletes := func(q *pb.DeleteRangeRequest, limit int64) int64 {
			bytes, err := n.Estimator().Delete(t.Context(), q, limit)
			if err != nil {
				t.Fatal(err)
			}
			return bytes
		}
		txn := func(q *pb.TxnRequest) int64 {
			bytes, err := n.Estimator().Txn(t.Context(), q, limit)
			if err != nil {
				t.Fatal(err)
			}
			return bytes
		}
		expect(t, "all keys", deletes(all, limit), keys*one)
		expect(t, "no further than the limit", deletes(all, 10*one), 11*one)
		expect(t, "with values", deletes(previous, limit), answerCopies*keys*(one+valueBytes))
		expect(t, "one key", deletes(&pb.DeleteRangeRequest{Key: []byte("k/0001")}, limit), 0)
		expect(t, "no key", deletes(&pb.DeleteRangeRequest{Key: []byte("l"), RangeEnd: []byte("m")}, limit), 0)
		expect(t, "the larger branch", txn(&pb.TxnRequest{
			Success: []*pb.RequestOp{get}, Failure: []*pb.RequestOp{nested, get},
		}), keys*one+answerCopies*10*(one+valueBytes)+keys*ownBytes)
		keeps := &pb.PutRequest{Key: []byte("k/0001"), IgnoreValue: true}
		bytes, err := n.Estimator().Put(keeps, limit)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "a value that a put keeps", bytes, keptCopies*valueBytes)
		expect(t, "values that puts of a transaction keep", txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestPut{RequestPut: keeps}},
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k/0002"), IgnoreValue: true,
				PrevKv: true}}},
		}}), (2*keptCopies+answerCopies)*valueBytes)
		w, err := n.Watch(watch.Request{Key: []byte("k"), PrevKV: true})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "values that a watcher wants", deletes(all, limit), keys*(one+valueBytes))
		expect(t, "values that puts replace", txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k/0001")}}},
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k/0002")}}},
		}}), 2*valueBytes)
		w.Close()
	}
}

// A lease ends with all of its keys at one revision, and comparisons of spans read all keys up to one that does not
// hold.
func TestEffectOfLeasesAndComparisons(t *testing.T) {
	n := newNode(t)
	const keys, valueBytes, one, limit = 100, 50, changeBytes + 2*6, 1 << 20
	n.apply(command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: 60}))
	for i := range keys {
		n.apply(command.EncodePut(&pb.PutRequest{
			Key: fmt.Appendf(nil, "k/%04d", i), Value: make([]byte, valueBytes), Lease: 7,
		}))
	}
	revoke := func(id, limit int64) int64 {
		bytes, err := n.Estimator().Revoke(t.Context(), id, limit)
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	compare := func(result pb.Compare_CompareResult, version, limit int64) int64 {
		c := &pb.Compare{
			Key: []byte("k"), RangeEnd: []byte("l"), Target: pb.Compare_VERSION, Result: result,
			TargetUnion: &pb.Compare_Version{Version: version},
		}
		inner := &pb.TxnRequest{Compare: []*pb.Compare{c}}
		nested := &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: inner}}
		bytes, err := n.Estimator().Txn(t.Context(), &pb.TxnRequest{
			Compare: []*pb.Compare{c, {Key: []byte("k/0001")}}, Success: []*pb.RequestOp{nested},
		}, limit)
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	expect(t, "a lease", revoke(7, limit), keys*one)
	expect(t, "a lease, no further than the limit", revoke(7, 10*one), 11*one)
	expect(t, "no lease", revoke(8, limit), 0)
	expect(t, "comparisons that hold", compare(pb.Compare_EQUAL, 1, limit), 2*keys*one)
	expect(t, "comparisons, no further than the limit", compare(pb.Compare_EQUAL, 1, 10*one), 12*one)
	expect(t, "comparisons that do not hold", compare(pb.Compare_EQUAL, 2, limit), 2*one)
	w, err := n.Watch(watch.Request{Key: []byte("k"), PrevKV: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	expect(t, "a lease with values that a watcher wants", revoke(7, limit), keys*(one+valueBytes))
}

// What a transaction reads counts, however it asks: by single keys, at a revision of before, as the value that a put
// replaces. Nested transactions ask for one value thousands of times.
func TestEffectOfReads(t *testing.T) {
	n := newNode(t)
	const valueBytes, limit = 1000, 1 << 20
	n.apply(put("k", strings.Repeat("v", valueBytes)))
	n.apply(del("k", ""), put("k", "small"))
	ask := func(r *pb.RangeRequest) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	}
	effect := func(op *pb.RequestOp) int64 {
		var many []*pb.RequestOp
		for range 5 {
			many = append(many, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
				Success: []*pb.RequestOp{op, op},
			}}})
		}
		bytes, err := n.Estimator().Txn(t.Context(), &pb.TxnRequest{Success: many}, limit)
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	const old, far = 2, 1 << 40
	expect(t, "a key", effect(ask(&pb.RangeRequest{Key: []byte("k")})), answerCopies*10*int64(len("small")))
	expect(t, "a key as it was", effect(ask(&pb.RangeRequest{Key: []byte("k"), Revision: old})),
		int64(answerCopies*10*valueBytes))
	all := &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("z"), Revision: old}
	expect(t, "a range as it was", effect(ask(all)), int64(answerCopies*10*(changeBytes+2+valueBytes)))
	expect(t, "a revision that is not there", effect(ask(&pb.RangeRequest{Key: []byte("k"), Revision: far})),
		answerCopies*10*int64(len("small")))
	expect(t, "a count", effect(ask(&pb.RangeRequest{Key: []byte("k"), CountOnly: true})), 0)
	expect(t, "what a put replaces", effect(&pb.RequestOp{Request: &pb.RequestOp_RequestPut{
		RequestPut: &pb.PutRequest{Key: []byte("k"), PrevKv: true},
	}}), answerCopies*10*int64(len("small")))
}

// What a lease costs is counted within the view that is held already: who waited for another one behind somebody who
// closes the store, and who waits for the first, would wait for ever.
func TestEffectIsCountedWithinOneView(t *testing.T) {
	n := newNode(t)
	n.apply(command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: 60}))
	n.apply(command.EncodePut(&pb.PutRequest{Key: []byte("k"), Lease: 7}))
	g, closed := n.current.Load(), make(chan error, 1)
	done := make(chan error, 1)
	go func() {
		_, err := n.Estimator().count(1<<20, func(e *effect) error {
			go func() { closed <- n.Store.Close() }()
			for end := time.Now().Add(time.Minute); g.mu.TryRLock(); time.Sleep(time.Millisecond) {
				if g.mu.RUnlock(); time.Now().After(end) {
					return errors.New("nobody closes the store")
				}
			}
			return e.revoke(t.Context(), 7)
		})
		done <- err
	}()
	for _, c := range []chan error{done, closed} {
		select {
		case err := <-c:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("what a lease costs and the end of the store wait for each other")
		}
	}
}
