package kv

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/watch"
)

// TestReadsAreOfOneMoment reads and watches while the store applies, compacts, is checkpointed, and is replaced by
// its own checkpoints. Each transaction gives three keys one value, so that a read of two moments shows.
func TestReadsAreOfOneMoment(t *testing.T) {
	n := newNode(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	all := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}
	for back := range int64(3) {
		wg.Go(func() {
			for ctx.Err() == nil {
				q := &pb.RangeRequest{Key: all.Key, RangeEnd: all.RangeEnd}
				if back > 0 {
					q.Revision = max(1, n.Revision()-back*5)
				}
				resp, err := n.Range(ctx, q)
				checkMoment(t, resp, err)
				var whole pb.RangeResponse
				err = n.RangeStream(ctx, q, nil, func(c *pb.RangeResponse) error {
					whole.Kvs, whole.Header = append(whole.Kvs, c.Kvs...), c.Header
					return nil
				})
				checkMoment(t, &whole, err)
				if _, _, _, err := n.Hash(ctx, 0); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	seen := int64(1)
	w := n.watch(watch.Request{Key: all.Key, RangeEnd: all.RangeEnd})
	wg.Go(func() {
		for {
			b, err := w.Next(ctx)
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			for i, e := range b.Events {
				if want := seen + int64(i/3) + 1; e.Kv.ModRevision != want {
					t.Errorf("event %d of revision %d, want %d", i, e.Kv.ModRevision, want)
					return
				}
			}
			seen += int64(len(b.Events) / 3)
		}
	})
	for i := range 600 {
		value := fmt.Sprint(i)
		ops := []*pb.RequestOp{opPut("k1", value), opPut("k2", value), opPut("k3", value)}
		n.apply(command.EncodeTxn(&pb.TxnRequest{Success: ops}))
		if i%10 == 9 {
			n.apply(compact(n.Revision() - 7))
		}
		if i%100 == 99 {
			dir := fmt.Sprint("copy", i)
			if err := n.Checkpoint(dir); err != nil {
				t.Fatal(err)
			}
			if err := n.Install(dir, nil); err != nil {
				t.Fatal(err)
			}
			// Wait for the watcher: compaction must not overtake it.
			for w.Progress() < n.Revision() && !t.Failed() {
				runtime.Gosched()
			}
		}
	}
	for w.Progress() < n.Revision() && !t.Failed() {
		runtime.Gosched()
	}
	stop()
	wg.Wait()
	expect(t, "revisions seen by the watcher", seen, n.Revision())
}

func checkMoment(t *testing.T, resp *pb.RangeResponse, err error) {
	switch {
	case errors.Is(err, command.ErrCompacted) || errors.Is(err, context.Canceled):
	case err != nil:
		t.Error(err)
	case len(resp.Kvs) == 3:
		a, b, c := resp.Kvs[0], resp.Kvs[1], resp.Kvs[2]
		if string(a.Value) != string(b.Value) || string(b.Value) != string(c.Value) ||
			a.ModRevision > resp.Header.Revision || a.ModRevision != c.ModRevision {
			t.Errorf("at %d: %v", resp.Header.Revision, resp.Kvs)
		}
	case len(resp.Kvs) != 0:
		t.Errorf("%d keys", len(resp.Kvs))
	}
}

func opPut(key, value string) *pb.RequestOp {
	q := &pb.PutRequest{Key: []byte(key), Value: []byte(value)}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: q}}
}
