package kv

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// settle waits until a store has counted its keys.
func settle(t testing.TB, s *Store) {
	t.Helper()
	for end := time.Now().Add(time.Minute); s.counter.busy(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the keys are not counted")
		}
	}
}

// TestCountsWithAndWithoutIndex sees that memory, for the index of the keys, or a limit of a request, changes no
// answer: beside writes, and after a restart.
func TestCountsWithAndWithoutIndex(t *testing.T) {
	const keys = 40
	for _, limit := range []int64{-1, 1, 1 << 10, 1 << 20} {
		fs := vfs.NewMem()
		open := func() *node {
			s, err := Open(Options{FS: fs, Dir: "data", CountBytes: limit, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return &node{Store: s, t: t}
		}
		n := open()
		m := map[int]bool{}
		random := rand.New(rand.NewPCG(uint64(limit), 1))
		key := func(i int) []byte { return fmt.Appendf(nil, "k%02d", i) }
		for range 300 {
			i := random.IntN(keys)
			if m[i] = random.IntN(3) != 0; m[i] {
				n.apply(command.EncodePut(&pb.PutRequest{Key: key(i)}))
			} else {
				n.apply(command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: key(i)}))
			}
			if random.IntN(20) == 0 {
				if err := n.Sync(); err != nil {
					t.Fatal(err)
				}
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				n = open()
			}
			from, to, most := random.IntN(keys), random.IntN(keys+10), random.IntN(8)
			var want int64
			for at := from; at < to; at++ {
				if m[at] {
					want++
				}
			}
			q := &pb.RangeRequest{Key: key(from), RangeEnd: key(to), Limit: int64(most), CountOnly: random.IntN(4) == 0}
			resp, err := n.Range(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			kvs, more := want, false
			if most > 0 {
				kvs, more = min(want, int64(most)), want > int64(most)
			}
			if q.CountOnly {
				kvs, more = 0, false
			}
			if resp.Count != want || int64(len(resp.Kvs)) != kvs || resp.More != more {
				t.Fatalf("with %d bytes: %v gives %d of %d keys, more %t; want %d of %d, %t",
					limit, q, len(resp.Kvs), resp.Count, resp.More, kvs, want, more)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCountBesideApply counts keys of which there are as many as the revision says, while it rises.
func TestCountBesideApply(t *testing.T) {
	n := newNode(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for limit := range int64(3) {
		wg.Go(func() {
			for ctx.Err() == nil {
				q := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Limit: limit, CountOnly: limit == 2}
				resp, err := n.Range(ctx, q)
				if err == nil && resp.Count != resp.Header.Revision-mvcc.FirstRevision {
					t.Errorf("%d keys at revision %d", resp.Count, resp.Header.Revision)
					return
				}
			}
		})
	}
	for i := range 3000 {
		n.apply(command.EncodePut(&pb.PutRequest{Key: fmt.Appendf(nil, "k%d", i)}))
		if i == 1000 {
			if err := n.Checkpoint("copy"); err != nil {
				t.Fatal(err)
			}
			if err := n.Install("copy", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	wg.Wait()
}
