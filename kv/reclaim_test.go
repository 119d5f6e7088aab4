package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Defragment gives back the room of what was compacted a moment before it was called.
func TestDefragment(t *testing.T) {
	f := newNode(t)
	value := make([]byte, 16<<10)
	for range 64 {
		rand.Read(value)
		f.apply(command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: value}))
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	before := f.Metrics().InUseBytes
	f.apply(command.EncodeCompaction(&pb.CompactionRequest{Revision: f.Revision()}))
	if err := Defragment(t.Context(), f.Store); err != nil {
		t.Fatal(err)
	}
	if after := f.Metrics().InUseBytes; after > before/4 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Defragment(ended, f.Store); !errors.Is(err, context.Canceled) {
		t.Errorf("of a caller that has left: %v", err)
	}
}

// What is removed behind a compaction is gone when RemoveOld returns.
func TestRemoveOld(t *testing.T) {
	f := newNode(t)
	for range 64 {
		f.apply(put("k", "v"))
	}
	before := records(t, f.Store)
	f.apply(command.EncodeCompaction(&pb.CompactionRequest{Revision: f.Revision()}))
	if err := RemoveOld(t.Context(), f.Store); err != nil {
		t.Fatal(err)
	}
	if after := records(t, f.Store); after > before/4 {
		t.Errorf("%d records before, %d after", before, after)
	}
}

// TestAHugeRevisionIsRemovedWhole has one revision supersede more than a step of a compaction takes, and compacts
// there.
func TestAHugeRevisionIsRemovedWhole(t *testing.T) {
	f := newNode(t)
	const keys = 3 * compactionStep
	for n := 0; n < keys; n += 1024 {
		ops := &pb.TxnRequest{}
		for i := range 1024 {
			ops.Success = append(ops.Success, opPut(fmt.Sprintf("huge/%08d", n+i), "v"))
		}
		f.apply(command.EncodeTxn(ops))
	}
	before := records(t, f.Store)
	f.apply(del("huge/", "huge0"))
	f.apply(compact(f.Revision()))
	if err := RemoveOld(t.Context(), f.Store); err != nil {
		t.Fatal(err)
	}
	// What stays is the deletion of each key, and its entry in the table of revisions: a watch may begin there.
	if after := records(t, f.Store); after > before+before/100 {
		t.Errorf("%d records before the deletion, %d after", before, after)
	}
}

// records returns how many there are in the database.
func records(t *testing.T, s *Store) (n int) {
	t.Helper()
	g, err := s.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer g.release()
	lower, upper := mvcc.AllBounds()
	it, err := g.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
