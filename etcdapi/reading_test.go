package etcdapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// readers read one key at a revision, in each way in which that can be done.
var readers = []func(ctx context.Context, c pb.KVClient, r *pb.RangeRequest) error{
	func(ctx context.Context, c pb.KVClient, r *pb.RangeRequest) error {
		_, err := c.Range(ctx, r)
		return err
	},
	func(ctx context.Context, c pb.KVClient, r *pb.RangeRequest) error {
		s, err := c.RangeStream(ctx, r)
		for err == nil {
			_, err = s.Recv()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	},
	func(ctx context.Context, c pb.KVClient, r *pb.RangeRequest) error {
		read := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
		nested := &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{
			RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{read}},
		}}
		_, err := c.Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{nested}})
		return err
	},
}

// TestALinearizableReadIsNotToldBeforeItIsSettled, not a chunk of it, and once is enough; others ask nobody.
func TestALinearizableReadIsNotToldBeforeItIsSettled(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := pb.NewKVClient(n.Dial(t)), bounded(t)
	put(t, n, "k", "v")
	auth := pb.NewAuthClient(n.Dial(t))
	list := append(slices.Clone(readers), func(ctx context.Context, _ pb.KVClient, _ *pb.RangeRequest) error {
		_, err := auth.AuthStatus(ctx, &pb.AuthStatusRequest{})
		return err
	})
	for i, read := range list {
		for _, answer := range []error{fmt.Errorf("%w: on purpose", replication.ErrNotReady), nil} {
			var asked atomic.Int64
			n.Replicator.AtEnds(func() error { asked.Add(1); return answer })
			var want error
			if answer != nil {
				want = rpctypes.ErrGRPCNoLeader
			}
			err := read(ctx, c, &pb.RangeRequest{Key: []byte("k")})
			if status.Code(err) != status.Code(want) || asked.Load() != 1 {
				t.Errorf("reader %d: %v, asked %d times, want %v", i, err, asked.Load(), want)
			}
			if i == len(readers) {
				continue
			}
			err = read(ctx, c, &pb.RangeRequest{Key: []byte("k"), Serializable: true})
			if err != nil || asked.Load() != 1 {
				t.Errorf("reader %d, serializable: %v, asked %d times", i, err, asked.Load()-1)
			}
		}
	}
}

// A read of a revision that this node does not have: what the primary has is waited for, and only what nobody has is
// one of the future, as in etcd, unless the request waits for that too.
func TestReadsOfTheFuture(t *testing.T) {
	cut := func(n *etcdapitest.Node) { n.Replicator.Cut() }
	short := etcdapi.Limits{RequestTimeout: 50 * time.Millisecond}
	malformed := status.Error(codes.InvalidArgument,
		`mimir: metadata mimir-await-revision: "long" is neither true nor false`)
	late := status.FromContextError(context.DeadlineExceeded).Err()
	for i, c := range []struct {
		name   string
		limits etcdapi.Limits
		at     int64 // the revision; the node is at 1
		awaits string
		before func(*etcdapitest.Node) // it reads
		during bool                    // there is a write while it reads
		want   [2]error                // of a linearizable read, and of a serializable one
	}{
		{name: "nobody has it", at: 2, want: [2]error{rpctypes.ErrGRPCFutureRev, rpctypes.ErrGRPCFutureRev}},
		{name: "nobody has it, as a stream", at: 2,
			want: [2]error{rpctypes.ErrGRPCFutureRev, rpctypes.ErrGRPCFutureRev}},
		{name: "not to be awaited", at: 2, awaits: "false",
			want: [2]error{rpctypes.ErrGRPCFutureRev, rpctypes.ErrGRPCFutureRev}},
		{name: "the primary has it", at: 2, before: func(n *etcdapitest.Node) {
			n.Replicator.AtBarriers(func() { put(t, n, "k", "v") })
		}},
		{name: "nobody says who has it", limits: short, at: 2, before: cut,
			want: [2]error{rpctypes.ErrGRPCNoLeader, rpctypes.ErrGRPCNoLeader}},
		{name: "nobody says it before the client leaves", at: 2, before: cut,
			want: [2]error{late, late}},
		{name: "it comes from elsewhere", limits: etcdapi.Limits{RequestTimeout: patience}, at: 2, before: cut,
			during: true, want: [2]error{late, nil}},
		{name: "awaited and written", at: 2, awaits: "true", during: true},
		{name: "awaited in vain", limits: short, at: 2, awaits: "true",
			want: [2]error{rpctypes.ErrGRPCFutureRev, rpctypes.ErrGRPCFutureRev}},
		{name: "awaited too long", at: 2, awaits: "true", want: [2]error{late, late}},
		{name: "of another history", at: 1 << 40,
			want: [2]error{rpctypes.ErrGRPCCompacted, rpctypes.ErrGRPCCompacted}},
		{name: "of another history, awaited", at: 1 << 40, awaits: "true",
			want: [2]error{rpctypes.ErrGRPCCompacted, rpctypes.ErrGRPCCompacted}},
		{name: "wrongly asked", at: 1, awaits: "long", want: [2]error{malformed, malformed}},
	} {
		for j, want := range c.want {
			t.Run(fmt.Sprintf("%s, serializable %t", c.name, j == 1), func(t *testing.T) {
				n := etcdapitest.Start(t, c.limits)
				kv, ctx := pb.NewKVClient(n.Dial(t)), bounded(t)
				if c.before != nil {
					c.before(n)
				}
				if c.awaits != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, etcdapi.AwaitKey, c.awaits)
				}
				if want == late { // the client leaves
					left, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
					defer cancel()
					ctx = left
				}
				answered := make(chan error, 1)
				go func() {
					r := &pb.RangeRequest{Key: []byte("k"), Revision: c.at, Serializable: j == 1}
					answered <- readers[i%len(readers)](ctx, kv, r)
				}()
				if c.during {
					put(t, n, "k", "v")
				}
				err := <-answered
				if status.Code(err) != status.Code(want) ||
					want != late && rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(want) {
					t.Errorf("%v, want %v", err, want)
				}
			})
		}
	}
}

// inEachWay are the ways to read a range. Each says how many keys were told, and how many are said to be there.
func inEachWay(r *pb.RangeRequest) map[string]func(context.Context, pb.KVClient) (told int, count int64, err error) {
	return map[string]func(context.Context, pb.KVClient) (told int, count int64, err error){
		"at once": func(ctx context.Context, c pb.KVClient) (int, int64, error) {
			answer, err := c.Range(ctx, r)
			return len(answer.GetKvs()), answer.GetCount(), err
		},
		"in a transaction": func(ctx context.Context, c pb.KVClient) (int, int64, error) {
			op := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
			answer, err := c.Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{op}})
			if err != nil {
				return 0, 0, err
			}
			only := answer.Responses[0].GetResponseRange()
			return len(only.Kvs), only.Count, nil
		},
		"in chunks": func(ctx context.Context, c pb.KVClient) (told int, count int64, err error) {
			s, err := c.RangeStream(ctx, r)
			for err == nil {
				var chunk *pb.RangeStreamResponse
				if chunk, err = s.Recv(); err == nil {
					told, count = told+len(chunk.RangeResponse.Kvs), chunk.RangeResponse.Count
				}
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return told, count, err
		},
	}
}

// A read at a revision that comes here while it is asked for is done once: no key is told twice, and what its answer
// takes is not counted twice.
func TestAReadThatWaitedIsDoneOnce(t *testing.T) {
	const keys, size = 3, 400 << 10 // together more than what is counted at all
	all := &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("b"), Revision: keys + 1, Serializable: true}
	for name, read := range inEachWay(all) {
		t.Run(name, func(t *testing.T) {
			n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: keys * size * 3 / 2})
			n.Replicator.AtBarriers(sync.OnceFunc(func() {
				var written []*replication.Command
				for i := range keys {
					one := &pb.PutRequest{Key: fmt.Append(nil, "a", i), Value: bytes.Repeat([]byte("v"), size)}
					written = append(written, &replication.Command{Data: command.EncodePut(one)})
				}
				if _, err := n.Replicator.Propose(t.Context(), written); err != nil {
					t.Error(err)
				}
			}))
			told, count, err := read(bounded(t), pb.NewKVClient(n.Dial(t)))
			if err != nil || told != keys || count != keys {
				t.Errorf("%d keys, counted as %d, of %d: %v", told, count, keys, err)
			}
		})
	}
}

// What a node shows whole is nothing older than what it showed before its start.
func TestNothingWholeIsShownBeforeItIsApplied(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	ctx, m := bounded(t), pb.NewMaintenanceClient(n.Dial(t))
	n.Replicator.Replay(replication.ErrNotReady)
	for name, call := range map[string]func() error{
		"hash":         func() error { _, err := m.Hash(ctx, &pb.HashRequest{}); return err },
		"content hash": func() error { _, err := m.HashKV(ctx, &pb.HashKVRequest{}); return err },
		"snapshot": func() error {
			s, err := m.Snapshot(ctx, &pb.SnapshotRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
	} {
		if err := call(); rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
			t.Errorf("%s: %v", name, err)
		}
		n.Replicator.Replay(nil)
		if err := call(); err != nil {
			t.Errorf("%s, then: %v", name, err)
		}
		n.Replicator.Replay(replication.ErrNotReady)
	}
}

// A client that comes from where a lossy reign began is not told that its revision is lost by a node which has not
// heard of that reign: the node asks, and if nobody answers it leaves the client to others.
func TestAWatchOfAReignThatIsNotKnownHere(t *testing.T) {
	const begun = 1<<48 | 7
	s := openWatch(t, etcdapitest.Start(t, etcdapi.Limits{}))
	if r := s.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: begun}); !r.Created || r.Canceled {
		t.Fatalf("created: %v", r)
	}
	if r := s.receive(); !r.Canceled || r.CompactRevision != 1 {
		t.Errorf("of a reign of which nobody has heard: %v", r)
	}

	n := etcdapitest.Start(t, etcdapi.Limits{})
	s = openWatch(t, n)
	n.Replicator.AtBarriers(func() {
		r := replication.Reign{Epoch: 2, First: 1, Primary: "eu", Lossy: true, Place: 1}
		r.Nonce[0] = 6
		at := replication.Metadata{AppliedIndex: 1, AppliedTerm: 1, Epoch: 2}
		if err := n.Store.Begin(r, &at); err != nil {
			t.Error(err)
		}
	})
	if r := s.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: begun}); !r.Created || r.Canceled {
		t.Fatalf("created: %v", r)
	}
	n.Replicator.AtBarriers(nil)
	put(t, n, "k", "v")
	if r := s.receive(); r.Canceled || len(r.Events) != 1 || r.Events[0].Kv.ModRevision != begun {
		t.Errorf("of a reign of which the primary tells: %v", r)
	}

	n = etcdapitest.Start(t, etcdapi.Limits{RequestTimeout: 50 * time.Millisecond})
	n.Replicator.Cut()
	s = openWatch(t, n)
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("k"), StartRevision: begun},
	}})
	if r, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("of a reign of which nobody tells: %v, %v", r, err)
	}
}
