package etcdapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// A stream has so many watches at most, those that ended by compaction included until they are cancelled. One more is
// refused as etcd refuses a watch, the others go on, and a cancelled one makes room.
func TestWatchesOfOneStream(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{Watches: 3})
	c, ctx := client(t, n), bounded(t)
	put(t, n, "k", "1")
	put(t, n, "k", "2")
	if _, err := c.Compact(ctx, 3); err != nil {
		t.Fatal(err)
	}
	s, key := openWatch(t, n), []byte("k")
	s.create(&pb.WatchCreateRequest{Key: key})
	s.create(&pb.WatchCreateRequest{Key: key, StartRevision: 1})
	if r := s.receive(); !r.Canceled || r.CompactRevision != 3 || r.WatchId != 1 {
		t.Fatal(r)
	}
	s.create(&pb.WatchCreateRequest{Key: key, WatchId: 9})
	for _, id := range []int64{0, 77} {
		r := s.create(&pb.WatchCreateRequest{Key: key, WatchId: id})
		if !r.Created || !r.Canceled || r.WatchId != -1 || !strings.Contains(r.CancelReason, "too many watches") {
			t.Error(r)
		}
	}
	s.cancel(1)
	if r := s.receive(); !r.Canceled || r.WatchId != 1 {
		t.Fatal(r)
	}
	if r := s.create(&pb.WatchCreateRequest{Key: []byte("other")}); !r.Created || r.Canceled {
		t.Error(r)
	}
	put(t, n, "k", "3")
	for range 2 {
		if r := s.receive(); len(r.Events) != 1 {
			t.Error(r)
		}
	}
}

// A node has so many watches of all streams, and then whoever has no more than his share gets some all the same. What
// ends makes room, also with its whole stream.
func TestWatchesOfOneNode(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{AllWatches: 6})
	ctx, end := context.WithCancel(bounded(t))
	defer end()
	stream, err := pb.NewWatchClient(n.Dial(t)).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hoards, other := watchStream{t, stream}, openWatch(t, n)
	gets := func(s watchStream) bool {
		r := s.create(&pb.WatchCreateRequest{Key: []byte("k")})
		if r.Canceled && !strings.Contains(r.CancelReason, "too many watches at this node") {
			t.Error(r)
		}
		return !r.Canceled
	}
	for i := range 8 {
		if got := gets(hoards); got != (i < 6) {
			t.Errorf("watch %d: %t", i, got)
		}
	}
	for i := range 5 {
		if got := gets(other); got != (i < 3) {
			t.Errorf("watch %d of another: %t", i, got)
		}
	}
	hoards.cancel(0)
	if r := hoards.receive(); !r.Canceled || gets(hoards) {
		t.Error("who has most takes what has become free, beyond the bound")
	}
	end()
	for !gets(other) { // until the node has heard of it, or the stream's time is over
		time.Sleep(time.Millisecond)
	}
}

// A watch of long keys counts for as many as take as much memory.
func TestWatchesOfLongKeys(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{Watches: 300})
	s, long := openWatch(t, n), make([]byte, 1<<20) // 256 of 4 KiB
	if r := s.create(&pb.WatchCreateRequest{Key: long}); r.Canceled {
		t.Fatal(r)
	}
	for _, r := range []*pb.WatchCreateRequest{
		{Key: long}, {Key: []byte("a"), RangeEnd: append([]byte("b"), long...)},
		{Key: []byte("k"), Filters: make([]pb.WatchCreateRequest_FilterType, 100<<10)},
	} {
		if r := s.create(r); !r.Canceled || !strings.Contains(r.CancelReason, "too many watches on this stream") {
			t.Error(r)
		}
	}
	for range 40 {
		if r := s.create(&pb.WatchCreateRequest{Key: []byte("k")}); r.Canceled {
			t.Fatal(r)
		}
	}
	s.cancel(0)
	if r := s.receive(); !r.Canceled || r.WatchId != 0 {
		t.Fatal(r)
	}
	if r := s.create(&pb.WatchCreateRequest{Key: long}); r.Canceled {
		t.Error("there is no room when the long one has gone:", r)
	}
}

// The client of etcd is told why.
func TestTheClientIsToldOfTooManyWatches(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{Watches: 1})
	c, ctx := client(t, n), bounded(t)
	first := c.Watch(ctx, "a", clientv3.WithCreatedNotify())
	if r := <-first; r.Err() != nil {
		t.Fatal(r.Err())
	}
	r, ok := <-c.Watch(ctx, "b", clientv3.WithCreatedNotify())
	if !ok || r.Err() == nil || !strings.Contains(r.Err().Error(), "too many watches") {
		t.Error(r, ok)
	}
	put(t, n, "a", "1")
	if r := <-first; r.Err() != nil || len(r.Events) != 1 {
		t.Error(r, r.Err())
	}
}
