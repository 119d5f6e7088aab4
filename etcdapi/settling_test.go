package etcdapi_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// largeReads are those whose answers are large, of a node with leases and keys of lease 1.
var largeReads = map[string]func(ctx context.Context, c *grpc.ClientConn) error{
	"range": func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := pb.NewKVClient(c).Range(ctx, &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0")})
		return err
	},
	"transaction": func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := pb.NewKVClient(c).Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{{
			Request: &pb.RequestOp_RequestRange{
				RequestRange: &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0")},
			},
		}}})
		return err
	},
	"stream": func(ctx context.Context, c *grpc.ClientConn) error {
		s, err := pb.NewKVClient(c).RangeStream(ctx, &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0")})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	},
	"keys of a lease": func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := pb.NewLeaseClient(c).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: 1, Keys: true})
		return err
	},
	"leases": func(ctx context.Context, c *grpc.ClientConn) error {
		_, err := pb.NewLeaseClient(c).LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
		return err
	},
}

// withLargeReads starts a node of which largeReads are large, and has linearizable reads wait for other regions until
// told is closed; settling counts those that have begun to.
func withLargeReads(t *testing.T, limits etcdapi.Limits) (n *etcdapitest.Node, settling *atomic.Int64, told func()) {
	t.Helper()
	n = etcdapitest.Start(t, limits)
	var commands []*replication.Command
	add := func(c []byte) { commands = append(commands, &replication.Command{Data: c}) }
	for id := range int64(1000) {
		add(command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: id + 1, TTL: 3600}))
	}
	for i := range 100 {
		key := fmt.Appendf(nil, "k/%s/%d", strings.Repeat("k", 1<<10), i)
		add(command.EncodePut(&pb.PutRequest{Key: key, Lease: 1}))
	}
	add(command.EncodePut(&pb.PutRequest{Key: []byte("some"), Value: make([]byte, 8<<10)}))
	if _, err := n.Replicator.Propose(bounded(t), commands); err != nil {
		t.Fatal(err)
	}
	settling, silent := new(atomic.Int64), make(chan struct{})
	n.Replicator.AtEnds(func() error {
		settling.Add(1)
		<-silent
		return nil
	})
	told = sync.OnceFunc(func() { close(silent) })
	t.Cleanup(told)
	return n, settling, told
}

// However many large answers wait for regions that are slow, those that ask no other region are given.
func TestLargeReadsThatWaitForOtherRegionsHoldUpNobody(t *testing.T) {
	const readers = 70 // more than are made at a time
	for name, read := range largeReads {
		t.Run(name, func(t *testing.T) {
			n, settling, told := withLargeReads(t, etcdapi.Limits{RequestTimeout: patience})
			c, ctx := n.Dial(t), bounded(t)
			var all sync.WaitGroup
			for range readers {
				all.Go(func() {
					if err := read(ctx, c); err != nil {
						t.Error(err)
					}
				})
			}
			await(t, "all wait for other regions", func() bool { return settling.Load() == readers })
			kv := pb.NewKVClient(c)
			_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("some"), Serializable: true})
			if err != nil {
				t.Errorf("a serializable read: %v", err)
			}
			if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("some"), PrevKv: true}); err != nil {
				t.Errorf("a write that answers what it replaced: %v", err)
			}
			told()
			all.Wait()
		})
	}
}

// What waits for other regions is bounded with all other answers, and refused beyond that.
func TestWhatWaitsForOtherRegionsIsBounded(t *testing.T) {
	const limit = 1 << 20
	reads := map[string]func(ctx context.Context, c *grpc.ClientConn) error{
		"a key": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := pb.NewKVClient(c).Range(ctx, &pb.RangeRequest{Key: []byte("one")})
			return err
		},
		"range": largeReads["range"], "transaction": largeReads["transaction"],
		"keys of a lease": largeReads["keys of a lease"], "leases": largeReads["leases"],
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			n, settling, told := withLargeReads(t, etcdapi.Limits{AnswerBytes: limit, RequestTimeout: patience})
			put(t, n, "one", strings.Repeat("v", 100<<10))
			c, ctx := n.Dial(t), bounded(t)
			const readers = 40 // of about 100 KiB each
			var refused atomic.Int64
			var all sync.WaitGroup
			for range readers {
				all.Go(func() {
					if err := read(ctx, c); status.Code(err) == codes.ResourceExhausted {
						refused.Add(1)
					}
				})
			}
			await(t, "all wait or are refused", func() bool { return settling.Load()+refused.Load() == readers })
			if most := int64(2*limit) / (80 << 10); settling.Load() > most || settling.Load() == 0 {
				t.Errorf("%d of %d wait", settling.Load(), readers)
			}
			told()
			all.Wait()
		})
	}
}
