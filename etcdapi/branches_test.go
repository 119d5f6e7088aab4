package etcdapi_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// TestTwoBranchesNeverShareARevision: us is dead, eu is forced, acknowledges three puts and dies, and ap, which never
// heard of that, is forced and acknowledges three others. Whoever has seen those of one is told by the other, by an
// ordinary client, that it cannot go on.
func TestTwoBranchesNeverShareARevision(t *testing.T) {
	for _, names := range [][2]string{{"ap", "eu"}, {"eu", "ap"}} {
		t.Run(names[0]+" before "+names[1], func(t *testing.T) {
			ctx := bounded(t)
			nodes := map[string]*etcdapitest.Node{}
			last := map[string]int64{}
			for i, name := range names {
				n := etcdapitest.Start(t, etcdapi.Limits{})
				put(t, n, "k", "shared")
				r := replication.Reign{Epoch: 2, First: 2, Primary: name, Lossy: true, Place: uint8(i + 1)}
				binary.LittleEndian.PutUint64(r.Nonce[:], rand.Uint64())
				at := replication.Metadata{AppliedIndex: 1, AppliedTerm: 1, Epoch: 2, Position: 1}
				if err := n.Store.Begin(r, &at); err != nil {
					t.Fatal(err)
				}
				for j := range 3 {
					put(t, n, "k", fmt.Sprint(name, j))
				}
				nodes[name], last[name] = n, n.Store.Revision()
			}
			for from, to := range map[string]string{"ap": "eu", "eu": "ap"} {
				c := client(t, nodes[to])
				for back := range int64(4) {
					r := <-c.Watch(ctx, "k", clientv3.WithRev(last[from]+1-back))
					if !errors.Is(r.Err(), rpctypes.ErrCompacted) || r.CompactRevision <= 0 {
						t.Fatalf("from %s to %s at %d: %v", from, to, last[from]+1-back, r)
					}
					if _, err := c.Get(ctx, "k", clientv3.WithRev(r.CompactRevision)); err != nil {
						t.Errorf("from %s to %s, told %d: %v", from, to, r.CompactRevision, err)
					}
					events := <-c.Watch(ctx, "k", clientv3.WithRev(r.CompactRevision))
					if len(events.Events) != 3 || string(events.Events[0].Kv.Value) != to+"0" {
						t.Errorf("from %s to %s, from %d on: %v", from, to, r.CompactRevision, events)
					}
					if _, err := c.Get(ctx, "k", clientv3.WithRev(last[from]+1-back)); err == nil {
						t.Errorf("%s reads at the revision %d of %s", to, last[from]+1-back, from)
					}
				}
			}
		})
	}
}

// TestAWatchOfTheFutureWaits as in etcd, as long as the future can come.
func TestAWatchOfTheFutureWaits(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	s := openWatch(t, n)
	for range 3 {
		put(t, n, "k", "v")
	}
	s.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 6})
	put(t, n, "k", "not yet")
	put(t, n, "k", "now")
	if r := s.receive(); len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "now" {
		t.Errorf("%v", r)
	}
	s.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: math.MaxInt64})
	if r := s.receive(); !r.Canceled || r.CompactRevision != 1 {
		t.Errorf("%v", r)
	}
}

// TestAWatchThatHasToAskHoldsUpNoOther of its stream, nor ends one: the primary does not answer, and then it does.
func TestAWatchThatHasToAskHoldsUpNoOther(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	put(t, n, "k", "v")
	s := openWatch(t, n)
	s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 1})
	n.Replicator.Fail(replication.ErrNotReady)
	for id := int64(2); id < 5; id++ {
		r := s.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: math.MaxInt64, WatchId: id})
		if !r.Created || r.Canceled || r.WatchId != id {
			t.Fatalf("%v", r)
		}
	}
	if r := s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 4}); !r.Canceled || r.WatchId != -1 {
		t.Errorf("an ID that is in use: %v", r)
	}
	s.cancel(3)
	if r := s.receive(); !r.Canceled || r.CompactRevision != 0 || r.WatchId != 3 {
		t.Errorf("%v", r)
	}
	s.askProgress() // and gets no answer
	batch := &replication.Batch{Epoch: 1, First: 100, Metadata: &replication.Metadata{Epoch: 1, Position: 100}}
	batch.Commands = []replication.Command{{Data: command.EncodePut(&pb.PutRequest{Key: []byte("k")})}}
	if _, err := n.Store.Apply(batch); err != nil {
		t.Fatal(err)
	}
	if r := s.receive(); r.WatchId != 1 || len(r.Events) != 1 {
		t.Errorf("%v", r)
	}
	n.Replicator.Fail(nil)
	for ended := map[int64]bool{}; len(ended) < 2; {
		r := s.receive()
		if ended[r.WatchId] || r.WatchId != 2 && r.WatchId != 4 || !r.Canceled || r.CompactRevision <= 0 {
			t.Fatalf("%v", r)
		}
		ended[r.WatchId] = true
	}
}

// TestAReplacedStoreEndsWatchesAsCompacted: whatever state takes the place of the one that a client has followed.
func TestAReplacedStoreEndsWatchesAsCompacted(t *testing.T) {
	n, other := etcdapitest.Start(t, etcdapi.Limits{}), etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	put(t, other, "k", "v")
	var archive bytes.Buffer
	if err := other.Store.SnapshotTo(&archive, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		put(t, n, "k", "tail")
	}
	seen, waits := c.Watch(ctx, "k", clientv3.WithRev(4)), c.Watch(ctx, "k", clientv3.WithRev(9))
	if r := <-seen; len(r.Events) != 1 {
		t.Fatal(r)
	}
	put(t, n, "other", "so that both have begun")
	if err := n.Store.Restore(&archive, nil); err != nil {
		t.Fatal(err)
	}
	for what, w := range map[string]clientv3.WatchChan{"that has seen the tail": seen, "that waits": waits} {
		if r := <-w; !errors.Is(r.Err(), rpctypes.ErrCompacted) || r.CompactRevision <= 0 {
			t.Errorf("a watch %s: %v", what, r)
		}
	}
}
