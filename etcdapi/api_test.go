package etcdapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
)

var _ etcdapi.Replicator = (*replication.MultiRegionReplicator)(nil)

// patience bounds all that a test does. Only a hang reaches it: a machine that is busy with other things takes a second
// for what takes it milliseconds alone.
const patience = 2 * time.Minute

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func client(t *testing.T, n *etcdapitest.Node) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{n.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClientWritesAndReads(t *testing.T) {
	c, ctx := client(t, etcdapitest.Start(t, etcdapi.Limits{})), bounded(t)
	for i := range 3 {
		put, err := c.Put(ctx, fmt.Sprintf("k%d", i), "v")
		if err != nil {
			t.Fatal(err)
		}
		if put.Header.ClusterId != etcdapitest.ClusterID || put.Header.MemberId != 1 || put.Header.RaftTerm != 2 ||
			put.Header.Revision != int64(i+2) {
			t.Fatalf("header %v", put.Header)
		}
	}
	got, err := c.Get(ctx, "k", clientv3.WithPrefix(), clientv3.WithLimit(2))
	if err != nil || len(got.Kvs) != 2 || got.Count != 3 || !got.More || got.Header.Revision != 4 {
		t.Fatalf("get: %v, %v", got, err)
	}
	txn, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value("k0"), "=", "v")).
		Then(clientv3.OpDelete("k0", clientv3.WithPrevKV()), clientv3.OpGet("k1")).Commit()
	if err != nil || !txn.Succeeded || txn.Responses[0].GetResponseDeleteRange().Deleted != 1 {
		t.Fatalf("txn: %v, %v", txn, err)
	}
	if _, err := c.Compact(ctx, 4); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, "k0", clientv3.WithRev(2)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Fatalf("read of a compacted revision: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	kv, lease, ctx := pb.NewKVClient(n.Dial(t)), pb.NewLeaseClient(n.Dial(t)), bounded(t)
	key := []byte("k")
	put := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key}}}
	many := make([]*pb.RequestOp, etcdapi.DefaultTxnOps+1)
	for i := range many {
		many[i] = put
	}
	for _, c := range []struct {
		name string
		call func() (any, error)
		want error
	}{
		{"get without key", func() (any, error) { return kv.Range(ctx, &pb.RangeRequest{}) }, rpctypes.ErrGRPCEmptyKey},
		{"unknown order", func() (any, error) { return kv.Range(ctx, &pb.RangeRequest{Key: key, SortOrder: 7}) },
			rpctypes.ErrGRPCInvalidSortOption},
		{"future revision", func() (any, error) { return kv.Range(ctx, &pb.RangeRequest{Key: key, Revision: 99}) },
			rpctypes.ErrGRPCFutureRev},
		{"put without key", func() (any, error) { return kv.Put(ctx, &pb.PutRequest{}) }, rpctypes.ErrGRPCEmptyKey},
		{"value although ignored", func() (any, error) {
			return kv.Put(ctx, &pb.PutRequest{Key: key, Value: key, IgnoreValue: true})
		}, rpctypes.ErrGRPCValueProvided},
		{"lease although ignored",
			func() (any, error) { return kv.Put(ctx, &pb.PutRequest{Key: key, Lease: 1, IgnoreLease: true}) },
			rpctypes.ErrGRPCLeaseProvided},
		{"ignored value of no key",
			func() (any, error) { return kv.Put(ctx, &pb.PutRequest{Key: key, IgnoreValue: true}) },
			rpctypes.ErrGRPCKeyNotFound},
		{"lease that is not there", func() (any, error) { return kv.Put(ctx, &pb.PutRequest{Key: key, Lease: 9}) },
			rpctypes.ErrGRPCLeaseNotFound},
		{"delete without key", func() (any, error) { return kv.DeleteRange(ctx, &pb.DeleteRangeRequest{}) },
			rpctypes.ErrGRPCEmptyKey},
		{"key twice", func() (any, error) {
			return kv.Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{put, put}})
		}, rpctypes.ErrGRPCDuplicateKey},
		{"too many operations", func() (any, error) { return kv.Txn(ctx, &pb.TxnRequest{Success: many}) },
			rpctypes.ErrGRPCTooManyOps},
		{"compaction of the future",
			func() (any, error) { return kv.Compact(ctx, &pb.CompactionRequest{Revision: 99}) },
			rpctypes.ErrGRPCFutureRev},
		{"too large", func() (any, error) {
			return kv.Put(ctx, &pb.PutRequest{Key: key, Value: make([]byte, etcdapi.DefaultRequestBytes)})
		}, rpctypes.ErrGRPCRequestTooLarge},
		{"too long a lease",
			func() (any, error) { return lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 1, TTL: 1 << 40}) },
			rpctypes.ErrGRPCLeaseTTLTooLarge},
		{"revocation of nothing", func() (any, error) { return lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: 9}) },
			rpctypes.ErrGRPCLeaseNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.call()
			if status.Code(err) != status.Code(c.want) || rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	_, err := kv.Put(ctx, &pb.PutRequest{Key: key, Value: make([]byte, 3<<20)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message beyond what is read at all: %v", err)
	}
	if n.Store.Revision() != 1 {
		t.Errorf("revision %d after nothing but bad requests", n.Store.Revision())
	}
}

func TestFailuresOfReplication(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	kv, ctx := pb.NewKVClient(n.Dial(t)), bounded(t)
	for _, c := range []struct{ cause, want error }{
		{replication.ErrNotReady, rpctypes.ErrGRPCNoLeader},
		{fmt.Errorf("proposing: %w", replication.ErrUnknownOutcome), rpctypes.ErrGRPCTimeoutDueToLeaderFail},
		{fmt.Errorf("%w: position 7 is in 1 of 2", replication.ErrUnderReplicated),
			rpctypes.ErrGRPCTimeoutDueToLeaderFail},
		{replication.ErrClosed, rpctypes.ErrGRPCStopped},
		{replication.ErrTooLarge, rpctypes.ErrGRPCRequestTooLarge},
		{context.DeadlineExceeded, rpctypes.ErrGRPCTimeout},
		{errors.New("something else"), status.Error(codes.Unknown, "something else")},
	} {
		n.Replicator.Fail(c.cause)
		_, put := kv.Put(ctx, &pb.PutRequest{Key: []byte("k")})
		_, get := kv.Range(ctx, &pb.RangeRequest{Key: []byte("k")})
		for _, err := range []error{put, get} {
			if status.Code(err) != status.Code(c.want) || rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(c.want) {
				t.Errorf("%v: got %v, want %v", c.cause, err, c.want)
			}
		}
	}
	n.Replicator.Fail(replication.ErrNotReady)
	if _, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("k"), Serializable: true}); err != nil {
		t.Errorf("a serializable read needs nobody: %v", err)
	}
}

func TestReadsPassABarrierUnlessSerializable(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	kv, ctx := pb.NewKVClient(n.Dial(t)), bounded(t)
	get := func(serializable bool) *pb.RangeRequest {
		return &pb.RangeRequest{Key: []byte("k"), Serializable: serializable}
	}
	ops := func(requests ...*pb.RangeRequest) *pb.TxnRequest {
		txn := &pb.TxnRequest{}
		for _, r := range requests {
			txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}})
		}
		return txn
	}
	bound := func(age string) context.Context {
		return metadata.AppendToOutgoingContext(ctx, etcdapi.StalenessKey, age)
	}
	for _, age := range []string{"soon", "-1s", "5"} {
		if _, err := kv.Range(bound(age), get(true)); status.Code(err) != codes.InvalidArgument {
			t.Errorf("age %q: %v", age, err)
		}
	}
	for _, c := range []struct {
		name string
		call func() (any, error)
		want int
	}{
		{"linearizable", func() (any, error) { return kv.Range(ctx, get(false)) }, 1},
		{"serializable, of a bounded age", func() (any, error) { return kv.Range(bound("500ms"), get(true)) }, 1},
		{"serializable", func() (any, error) { return kv.Range(ctx, get(true)) }, 0},
		{"transaction of both", func() (any, error) { return kv.Txn(ctx, ops(get(true), get(false))) }, 1},
		{"serializable transaction", func() (any, error) { return kv.Txn(ctx, ops(get(true), get(true))) }, 0},
		{"empty transaction", func() (any, error) { return kv.Txn(ctx, ops()) }, 1},
	} {
		_, before := n.Replicator.Calls()
		if _, err := c.call(); err != nil {
			t.Fatal(err)
		}
		if _, after := n.Replicator.Calls(); after-before != c.want {
			t.Errorf("%s: %d barriers, want %d", c.name, after-before, c.want)
		}
	}
}

func TestRangeStreamIsTheRange(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	for i := range 300 {
		if _, err := c.Put(ctx, fmt.Sprintf("k%03d", i), strings.Repeat("v", 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := pb.NewKVClient(n.Dial(t)).RangeStream(ctx, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
	if err != nil {
		t.Fatal(err)
	}
	found, chunks := 0, 0
	for last := false; !last; chunks++ {
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		found += len(r.RangeResponse.Kvs)
		if h := r.RangeResponse.Header; h != nil {
			last = true
			if h.ClusterId != etcdapitest.ClusterID || h.Revision != 301 || r.RangeResponse.Count != 300 {
				t.Errorf("last chunk: %v, count %d", h, r.RangeResponse.Count)
			}
		}
	}
	if found != 300 || chunks < 2 {
		t.Errorf("%d keys in %d chunks", found, chunks)
	}
}

// What would take more than the limit on every node is refused before anybody is asked to do it.
func TestGiantRequests(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{EffectBytes: 1 << 20})
	c, ctx := client(t, n), bounded(t)
	for i := range 300 {
		put(t, n, fmt.Sprintf("k/%04d", i), strings.Repeat("v", 8<<10))
	}
	revision := n.Store.Revision()
	previous, prefix := clientv3.WithPrevKV(), clientv3.WithPrefix()
	for name, call := range map[string]func() error{
		"delete": func() error { _, err := c.Delete(ctx, "k/", prefix, previous); return err },
		"txn": func() error {
			_, err := c.Txn(ctx).Then(clientv3.OpGet("k/", prefix), clientv3.OpPut("x", "")).Commit()
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "in pieces") ||
			!strings.Contains(err.Error(), "max-effect-bytes is 1048576") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n.Store.Revision() != revision {
		t.Error("something was done all the same")
	}
	if deleted, err := c.Delete(ctx, "k/", prefix); err != nil || deleted.Deleted != 300 {
		t.Errorf("without values: %v, %v", deleted, err)
	}
}
