package kv

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// TestPointReadsAreExact reads single keys beside writes, each of which writes the next key, so that the revision of
// a response says what must be in it. The cache of heads is far too small, so that it forgets and is filled by reads
// all the time.
func TestPointReadsAreExact(t *testing.T) {
	const keys, perHalf, valueBytes = 32, 6, 100
	s, err := Open(Options{
		FS: vfs.NewMem(), Dir: "data", CacheBytes: headCacheShare * perHalf * valueBytes * 2 / 3,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n := &node{Store: s, t: t}
	forget := func() {
		heads := &s.current.Load().heads
		heads.mu.Lock()
		heads.maxKeys = perHalf
		heads.mu.Unlock()
	}
	forget()
	key := func(rev int64) []byte { return fmt.Appendf(nil, "k%d", rev%keys) }
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for reader := range int64(3) {
		wg.Go(func() {
			for i := reader; ctx.Err() == nil; i++ {
				floor := n.Revision()
				q := &pb.RangeRequest{Key: key(i)}
				if i%5 == 0 {
					q.Revision = max(1, floor-i%40)
				}
				resp, err := n.Range(ctx, q)
				if err != nil {
					t.Error(err)
					return
				}
				at := resp.Header.Revision
				if at < floor {
					t.Errorf("read at revision %d after %d", at, floor)
				}
				if q.Revision > 0 {
					at = q.Revision
				}
				want := at - (at-i%keys+keys)%keys // the last revision that wrote the key
				switch {
				case want <= mvcc.FirstRevision && resp.Count != 0:
					t.Errorf("%s exists at %d", q.Key, at)
				case want > mvcc.FirstRevision &&
					(resp.Count != 1 || resp.Kvs[0].ModRevision != want || len(resp.Kvs[0].Value) != valueBytes):
					t.Errorf("%s at %d: %v, want revision %d", q.Key, at, resp, want)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
	value := bytes.Repeat([]byte{'v'}, valueBytes)
	for i := range 4000 {
		n.apply(command.EncodePut(&pb.PutRequest{Key: key(n.Revision() + 1), Value: value}))
		if i == 2000 {
			if err := n.Checkpoint("copy"); err != nil {
				t.Fatal(err)
			}
			if err := n.Install("copy", nil); err != nil {
				t.Fatal(err)
			}
			forget()
		}
	}
	stop()
	wg.Wait()
}

// TestPointReadAfterInstall sees that nothing is remembered of the content that was replaced.
func TestPointReadAfterInstall(t *testing.T) {
	n := newNode(t)
	n.apply(command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: []byte("kept")}))
	if err := n.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	n.apply(command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: []byte("lost")}))
	if err := n.Install("copy", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // from disk, then from memory
		resp, err := n.Range(t.Context(), &pb.RangeRequest{Key: []byte("k")})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "value", string(resp.Kvs[0].Value), "kept")
	}
}
