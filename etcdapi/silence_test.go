package etcdapi_test

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// A watch that requires a leader ends where the primary is silent, though the region has a leader: nothing would come.
// Who does not require one goes on, and so does who watches a region that is late on purpose.
func TestStreamEndsWithoutPrimary(t *testing.T) {
	for name, c := range map[string]struct {
		late, answers, requires, ends bool
	}{
		"requires a leader":                 {requires: true, ends: true},
		"requires none":                     {},
		"requires a leader, and it is late": {late: true, requires: true},
		"requires a leader, and it is behind a primary that answers": {answers: true, requires: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := etcdapitest.Start(t, etcdapi.Limits{LeaderTimeout: 60 * time.Millisecond})
			ctx := bounded(t)
			probe, err := pb.NewWatchClient(n.Dial(t)).Watch(clientv3.WithRequireLeader(ctx))
			if err != nil {
				t.Fatal(err)
			}
			if c.requires {
				ctx = clientv3.WithRequireLeader(ctx)
			}
			s, err := pb.NewWatchClient(n.Dial(t)).Watch(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(&pb.WatchRequest{
				RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")}},
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatal(err)
			}
			if c.late { // before it is silent: at no moment is it that alone
				n.Replicator.Hide()
			}
			n.Replicator.Follow("us", c.answers)
			if !c.answers {
				n.Replicator.Unheard(time.Second)
			}
			n.Replicator.Cut()
			if c.late || c.answers {
				time.Sleep(600 * time.Millisecond) // twice as long as a silent primary is borne with
			} else if _, err := probe.Recv(); rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
				t.Errorf("the probe ended with %v", err)
			}
			if c.ends {
				if _, err := s.Recv(); rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
					t.Errorf("stream ended with %v", err)
				}
				return
			}
			if err := s.Send(&pb.WatchRequest{
				RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{}},
			}); err != nil {
				t.Fatal(err)
			}
			if r, err := s.Recv(); err != nil || !r.Canceled {
				t.Errorf("stream has %v, %v", r, err)
			}
		})
	}
}

// TestRequestsDoNotWaitForAPrimaryThatIsSilentForLong: the client is told at once, and goes elsewhere.
func TestRequestsDoNotWaitForAPrimaryThatIsSilentForLong(t *testing.T) {
	for _, c := range []struct {
		silent time.Duration
		want   error
	}{
		{patience, rpctypes.ErrGRPCNoLeader},
		{patience / 2, context.DeadlineExceeded}, // it waits for as long as a request may: longer than this client does
	} {
		n := etcdapitest.Start(t, etcdapi.Limits{LeaderTimeout: 60 * time.Millisecond, RequestTimeout: patience})
		n.Replicator.Follow("us", false)
		n.Replicator.Unheard(c.silent)
		n.Replicator.Cut()
		limit := patience
		if c.want == context.DeadlineExceeded {
			limit = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		for i, read := range readers {
			err := read(ctx, pb.NewKVClient(n.Dial(t)), &pb.RangeRequest{Key: []byte("k")})
			if status.Code(err) != status.Code(status.FromContextError(c.want).Err()) &&
				rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(c.want) {
				t.Errorf("reader %d, silent for %s: %v", i, c.silent, err)
			}
		}
	}
}

// A physical compaction stands, and says so, where the primary does not answer what else this node has to know.
func TestAPhysicalCompactionDoesNotWaitForASilentPrimary(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{LeaderTimeout: 600 * time.Millisecond, RequestTimeout: patience})
	n.Replicator.Follow("us", false)
	n.Replicator.Unheard(patience)
	for range 3 {
		put(t, n, "k", "v")
	}
	n.Replicator.Cut()
	kv, ctx := pb.NewKVClient(n.Dial(t)), bounded(t)
	_, err := kv.Compact(ctx, &pb.CompactionRequest{Revision: 3, Physical: true})
	if rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
		t.Error(err)
	}
	_, err = kv.Range(ctx, &pb.RangeRequest{Key: []byte("k"), Revision: 2, Serializable: true})
	if rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCCompacted) {
		t.Errorf("a read of what is compacted: %v", err)
	}
}
