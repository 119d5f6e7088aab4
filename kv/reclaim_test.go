package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
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
