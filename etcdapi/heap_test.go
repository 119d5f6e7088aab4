package etcdapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"

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

// watching creates a watch and does not read its events.
func watching(t *testing.T, c *grpc.ClientConn, ctx context.Context, r *pb.WatchCreateRequest) {
	t.Helper()
	s, err := pb.NewWatchClient(c).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil { // that it was created
		t.Fatal(err)
	}
}

// Answers that nobody reads are bounded by what they take in memory, not only while they are made, and are no worse for
// those who read; nothing is left of them when they are read, or when their client has gone.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	t.Run("as they are", func(t *testing.T) { testAnswersThatNobodyReads(t) })
	t.Run("of a client that compresses", func(t *testing.T) {
		testAnswersThatNobodyReads(t, grpc.UseCompressor(gzip.Name))
	})
}

// noise returns n bytes that cannot be compressed.
func noise(n int) string {
	text := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(text)
	return string(text)
}

func testAnswersThatNobodyReads(t *testing.T, calls ...grpc.CallOption) {
	const valueBytes, values, limit = 1 << 20, 4, 12 << 20 // all clients have one address
	n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: limit})
	for i := range values {
		put(t, n, fmt.Sprintf("k/%d", i), noise(valueBytes))
	}
	put(t, n, "mid", noise(900<<10))
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
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20),
		grpc.WithDefaultCallOptions(calls...))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // of 4 MiB each
		stalled(t, c, bounded(t), all)
	}
	for range 40 { // which are small enough not to be counted while they are made
		stalled(t, c, bounded(t), &pb.RangeRequest{Key: []byte("mid")})
	}
	for range 40 {
		watching(t, c, bounded(t), &pb.WatchCreateRequest{Key: []byte("k/"), RangeEnd: []byte("k0"), StartRevision: 1})
	}
	if used := heap() - before; used > limit+5*values*valueBytes/2 {
		t.Errorf("%d MiB are held for clients that do not read, the bound is %d MiB", used>>20, limit>>20)
	}
	for range 3 { // one who reads is not the worse for it
		if err := ranged(); err != nil {
			t.Errorf("a client that reads: %v", err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "there is room again", func() bool {
		heap() // what gRPC had for a connection that is gone is found by the collector
		return ranged() == nil
	})
}

// jsonClient sends a request to the gateway, and reads no more than the beginning of the answer.
func jsonClient(t *testing.T, address, path, body string) (begins string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	err = errors.Join(c.(*net.TCPConn).SetReadBuffer(4<<10), c.SetDeadline(time.Now().Add(time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"+
		"Grpc-Metadata-Mimir-Gateway-Request: %s\r\n\r\n%s", path, len(body), c.LocalAddr(), body); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 256)
	read, err := io.ReadAtLeast(c, first, len("HTTP/1.1 200"))
	if err != nil {
		t.Fatal(err)
	}
	return string(first[:read])
}

// What clients of the JSON gateway do not read is counted until they do, or are gone: of ranges and of watches.
func TestJSONThatNobodyReadsIsBounded(t *testing.T) {
	const valueBytes, values, limit = 1 << 20, 4, 12 << 20
	n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: limit})
	for i := range values {
		put(t, n, fmt.Sprintf("k/%d", i), strings.Repeat("v", valueBytes))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handler, err := n.API.HTTPHandler(ctx)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.CloseClientConnections()
	address := server.Listener.Addr().String()
	const span = `"key":"ay8=","range_end":"azA="`
	const watches = 24
	before, refused := heap(), 0
	for range 6 { // of 4 MiB each, and as JSON of more
		if strings.HasPrefix(jsonClient(t, address, "/v3/kv/range", "{"+span+"}"), "HTTP/1.1 429") {
			refused++
		}
	}
	if refused == 0 {
		t.Error("none is refused")
	}
	for range watches {
		jsonClient(t, address, "/v3/watch", `{"create_request":{`+span+`,"start_revision":"1"}}`)
	}
	most := int64(0)
	for same := 0; same < 3; same++ { // until nothing comes any more
		if now := heap() - before; now > most+1<<18 {
			most, same = now, -1
		}
	}
	bound := int64(2*limit + (watches+4)*valueBytes) // each watch holds what it was given last
	if most > bound {
		t.Errorf("%d MiB are held for clients that do not read, the bound is %d MiB", most>>20,
			bound>>20)
	}
	server.CloseClientConnections()
	await(t, "there is room again", func() bool {
		_, err := pb.NewKVClient(n.Dial(t)).Range(bounded(t),
			&pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0")}, grpc.MaxCallRecvMsgSize(2*limit))
		return err == nil
	})
	server.Close()
}
