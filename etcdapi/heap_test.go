package etcdapi_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// heap returns how many bytes objects take that are in use.
func heap() int64 {
	runtime.GC()
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}

// stalled asks for a range and does not read the answer. It returns once the answer has begun.
func stalled(t *testing.T, c *grpc.ClientConn, ctx context.Context, r *pb.RangeRequest) grpc.ClientStream {
	t.Helper()
	desc := &grpc.StreamDesc{ServerStreams: true}
	s, err := c.NewStream(ctx, desc, pb.KV_Range_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(r); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Answers that nobody reads are bounded by what they take in memory, not only while they are made; nothing is left of
// them when they are read, or when their client has gone.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	const valueBytes, values, limit = 1 << 20, 4, 8 << 20
	n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: limit})
	for i := range values {
		put(t, n, fmt.Sprintf("k/%d", i), strings.Repeat("v", valueBytes))
	}
	all := &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0")}
	healthy := pb.NewKVClient(n.Dial(t))
	ranged := func() error {
		_, err := healthy.Range(bounded(t), all, grpc.MaxCallRecvMsgSize(2*limit))
		return err
	}
	if err := ranged(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	c, err := grpc.NewClient(n.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // of 4 MiB each
		stalled(t, c, bounded(t), all)
	}
	if used := heap() - before; used > limit+5*values*valueBytes/2 {
		t.Errorf("%d MiB are held for clients that do not read, the bound is %d MiB", used>>20, limit>>20)
	}
	if ranged() == nil {
		t.Error("there was room for one more")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "there is room again", func() bool {
		heap() // what gRPC had for a connection that is gone is found by the collector
		return ranged() == nil
	})
}
