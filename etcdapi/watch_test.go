package etcdapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// watchStream speaks the bare protocol.
type watchStream struct {
	*testing.T
	grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
}

func openWatch(t *testing.T, n *etcdapitest.Node) watchStream {
	t.Helper()
	s, err := pb.NewWatchClient(n.Dial(t)).Watch(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return watchStream{t, s}
}

func (s watchStream) send(r *pb.WatchRequest) {
	s.Helper()
	if err := s.Send(r); err != nil {
		s.Fatal(err)
	}
}

func (s watchStream) receive() *pb.WatchResponse {
	s.Helper()
	r, err := s.Recv()
	if err != nil {
		s.Fatal(err)
	}
	return r
}

func (s watchStream) create(r *pb.WatchCreateRequest) *pb.WatchResponse {
	s.Helper()
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
	return s.receive()
}

func (s watchStream) cancel(id int64) {
	s.Helper()
	s.send(&pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}},
	})
}

func (s watchStream) askProgress() {
	s.Helper()
	s.send(
		&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func put(t *testing.T, n *etcdapitest.Node, key, value string) {
	t.Helper()
	_, err := pb.NewKVClient(n.Conn).Put(bounded(t), &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatchIDs(t *testing.T) {
	s := openWatch(t, etcdapitest.Start(t, etcdapi.Limits{}))
	key := []byte("k")
	for _, c := range []struct {
		name   string
		ask    *pb.WatchCreateRequest
		id     int64
		reason string
	}{
		{"first", &pb.WatchCreateRequest{Key: key}, 0, ""},
		{"chosen by the client", &pb.WatchCreateRequest{Key: key, WatchId: 1}, 1, ""},
		{"next that is free", &pb.WatchCreateRequest{Key: key}, 2, ""},
		{"in use", &pb.WatchCreateRequest{Key: key, WatchId: 2}, -1,
			"mvcc: duplicate watch ID provided on the WatchStream"},
		{"empty range", &pb.WatchCreateRequest{Key: key, RangeEnd: []byte("a")}, -1, "mvcc: watcher range is empty"},
		{"before all history", &pb.WatchCreateRequest{Key: key, StartRevision: -1}, -1, rpctypes.ErrCompacted.Error()},
	} {
		r := s.create(c.ask)
		if !r.Created || r.WatchId != c.id || r.Canceled != (c.reason != "") || r.CancelReason != c.reason {
			t.Errorf("%s: %v", c.name, r)
		}
	}
	s.cancel(77) // nothing is said about what is not there
	s.cancel(1)
	if r := s.receive(); !r.Canceled || r.WatchId != 1 {
		t.Errorf("cancelled: %v", r)
	}
	if r := s.create(&pb.WatchCreateRequest{Key: key, WatchId: 1}); r.WatchId != 1 || r.Canceled {
		t.Errorf("an ID that is free again: %v", r)
	}
}

// A watch that is created in the past of a store that is being written sees everything once, in order.
func TestWatchSeesEverythingOnce(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	const writers, each = 8, 200
	var writing sync.WaitGroup
	defer writing.Wait() // an event can come before the answer of its write
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				if _, err := c.Put(ctx, fmt.Sprintf("k%d", w), fmt.Sprint(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	watch := c.Watch(ctx, "k", clientv3.WithPrefix(), clientv3.WithRev(2), clientv3.WithPrevKV())
	next, values := int64(2), map[string]string{}
	for next < 2+writers*each {
		r, ok := <-watch
		if !ok || r.Err() != nil {
			t.Fatalf("watch ended at revision %d: %v", next, r.Err())
		}
		for _, e := range r.Events {
			if e.Kv.ModRevision != next {
				t.Fatalf("revision %d, want %d", e.Kv.ModRevision, next)
			}
			if before := values[string(e.Kv.Key)]; e.PrevKv != nil && string(e.PrevKv.Value) != before {
				t.Fatalf("%s: previous value %q, want %q", e.Kv.Key, e.PrevKv.Value, before)
			}
			values[string(e.Kv.Key)] = string(e.Kv.Value)
			next++
		}
	}
}

// What a notification promises is checked against what came before it, under writes and while watches come and go: each
// watch has exactly what it says, no less and no more.
func TestProgressIsWhereEveryWatchIs(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	s := openWatch(t, n)
	ctx, stop := context.WithCancel(bounded(t))
	defer stop()
	c := client(t, n)
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			c.Put(ctx, fmt.Sprintf("k%d", i%5), "v") //nolint:errcheck // ends with the test
		}
	}()
	all := func(id, start int64) *pb.WatchRequest {
		r := &pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l"), WatchId: id, StartRevision: start}
		return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}
	}
	seen := map[int64]int64{} // by watch: everything up to here has come
	s.send(all(1, 2))
	for answers, next := 0, int64(2); answers < 60; {
		s.askProgress()
		r := s.receive()
		switch {
		case r.Created:
			seen[r.WatchId] = 1
		case r.WatchId == -1:
			for id, revision := range seen {
				if revision != r.Header.Revision {
					t.Fatalf("progress %d, but watch %d has seen all up to %d", r.Header.Revision, id, revision)
				}
			}
			if answers++; answers%10 == 0 {
				s.send(all(next, 2)) // has everything before it still to come
				next++
			}
		default:
			for _, e := range r.Events {
				if e.Kv.ModRevision != seen[r.WatchId]+1 {
					t.Fatalf("watch %d: revision %d after %d", r.WatchId, e.Kv.ModRevision, seen[r.WatchId])
				}
				seen[r.WatchId]++
			}
		}
	}
}

// Nothing is said of a watch that begins in the future, as one does that resumes at a node which is behind; not even
// when another watch of the stream has something to be told.
func TestNoProgressBeforeAWatchBegins(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{ProgressInterval: 5 * time.Millisecond})
	for range 4 {
		put(t, n, "k", "v") // revisions 2 to 5
	}
	s := openWatch(t, n)
	s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 1, StartRevision: 7, ProgressNotify: true})
	s.askProgress()
	if r := s.create(&pb.WatchCreateRequest{Key: []byte("other"), WatchId: 2}); !r.Created {
		t.Fatalf("a watch that begins at 7 was told %v", r)
	}
	s.askProgress()
	put(t, n, "k", "v") // 6
	if r := s.create(&pb.WatchCreateRequest{Key: []byte("other"), WatchId: 3}); !r.Created {
		t.Fatalf("a watch that begins at 7 was told %v", r)
	}
	put(t, n, "k", "v") // 7
	if r := s.receive(); r.WatchId != 1 || len(r.Events) != 1 || r.Events[0].Kv.ModRevision != 7 {
		t.Fatalf("the first event: %v", r)
	}
	s.askProgress()
	for told := false; !told; {
		r := s.receive()
		if len(r.Events) != 0 || r.Header.Revision != 7 {
			t.Fatalf("progress of a store at 7: %v", r)
		}
		told = r.WatchId == -1
	}
}

// The client of etcd passes a notification on to each watch of its stream: none may hear of less than it has.
func TestClientsProgressOnlyRises(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	put(t, n, "a", "v") // 2
	at := map[string]int64{"a": 1, "b": 4}
	watches := map[string]clientv3.WatchChan{
		"a": c.Watch(ctx, "a", clientv3.WithRev(2)), "b": c.Watch(ctx, "b", clientv3.WithRev(5)),
	}
	hear := func(key string) (progress bool) {
		r, ok := <-watches[key]
		if !ok || r.Err() != nil {
			t.Fatalf("the watch of %s ended: %v", key, r.Err())
		}
		if r.Header.Revision <= at[key] && !(r.IsProgressNotify() && r.Header.Revision == at[key]) {
			t.Fatalf("the watch of %s, at %d, hears of %d: %v", key, at[key], r.Header.Revision, r)
		}
		at[key] = r.Header.Revision
		return r.IsProgressNotify()
	}
	hear("a")
	for _, key := range []string{"a", "a", "b", "a"} { // 3 to 6
		if err := c.RequestProgress(ctx); err != nil {
			t.Fatal(err)
		}
		put(t, n, key, "v")
		hear(key)
	}
	if err := c.RequestProgress(ctx); err != nil {
		t.Fatal(err)
	}
	for key := range watches {
		for !hear(key) || at[key] < 6 { // what was asked before may be answered late
		}
	}
}

// A client that has said what it wants to see may close its side and listen.
func TestAWatchGoesOnWhenTheClientOnlyListens(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	s := openWatch(t, n)
	s.create(&pb.WatchCreateRequest{Key: []byte("k")})
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for revision := int64(2); revision < 5; revision++ {
		put(t, n, "k", "v")
		if r := s.receive(); len(r.Events) != 1 || r.Header.Revision != revision {
			t.Fatalf("at revision %d: %v", revision, r)
		}
	}
}

// The same in JSON: the body is all that the client says.
func TestAJSONWatchGoesOnAfterItsBody(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	handler, err := n.API.HTTPHandler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(handler)
	defer web.Close()
	ctx, leave := context.WithCancel(bounded(t))
	defer leave()
	body := strings.NewReader(`{"create_request": {"key": "aw=="}}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, web.URL+"/v3/watch", body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), `"created":true`) {
		t.Fatalf("begins with %q, %v", lines.Text(), lines.Err())
	}
	for range 3 {
		put(t, n, "k", "v")
		if !lines.Scan() || !strings.Contains(lines.Text(), `"events":[{`) {
			t.Fatalf("goes on with %q, %v", lines.Text(), lines.Err())
		}
	}
	leave()
	for n.Store.Metrics().Watchers != 0 && bounded(t).Err() == nil {
		runtime.Gosched()
	}
}

func TestProgressNotify(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{ProgressInterval: 20 * time.Millisecond})
	s := openWatch(t, n)
	s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 5, ProgressNotify: true})
	put(t, n, "other", "v")
	for {
		r := s.receive()
		if r.WatchId != 5 || len(r.Events) != 0 {
			t.Fatalf("not a notification: %v", r)
		}
		if r.Header.Revision == 2 {
			return
		}
	}
}

func TestCompactedWatch(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	for range 5 {
		put(t, n, "k", "v")
	}
	if _, err := c.Compact(ctx, 4); err != nil {
		t.Fatal(err)
	}
	s := openWatch(t, n)
	created := s.create(&pb.WatchCreateRequest{Key: []byte("k"), StartRevision: 2, WatchId: 3})
	ended := s.receive()
	if !created.Created || created.Canceled || !ended.Canceled || ended.CompactRevision != 4 || ended.WatchId != 3 {
		t.Fatalf("%v, then %v", created, ended)
	}
	if r := s.create(&pb.WatchCreateRequest{Key: []byte("k"), WatchId: 3}); !r.Canceled {
		t.Errorf("the ID is in use until the client cancels it: %v", r)
	}
	s.cancel(3)
	if r := s.receive(); !r.Canceled || r.WatchId != 3 {
		t.Errorf("cancel of a watch that was ended: %v", r)
	}
	if r := <-c.Watch(ctx, "k", clientv3.WithRev(2)); !errors.Is(r.Err(), rpctypes.ErrCompacted) ||
		r.CompactRevision != 4 {
		t.Errorf("client sees %v", r.Err())
	}
}

func TestStreamEndsWithoutLeader(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{LeaderTimeout: 100 * time.Millisecond})
	ctx := clientv3.WithRequireLeader(bounded(t))
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
	n.Replicator.SetLeader(false)
	if _, err := s.Recv(); rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
		t.Errorf("stream ended with %v", err)
	}
	if _, err := pb.NewKVClient(n.Dial(t)).Range(
		ctx, &pb.RangeRequest{Key: []byte("k"), Serializable: true},
	); rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
		t.Errorf("request that requires a leader: %v", err)
	}
	without, err := pb.NewWatchClient(n.Dial(t)).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := without.Recv(); rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
		t.Errorf("new stream: %v", err)
	}
}

// A transaction whose events are larger than a message comes in fragments if the client wants them.
func TestFragments(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{RequestBytes: 4 << 20, TxnOps: 8})
	s := openWatch(t, n)
	s.create(&pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l"), Fragment: true, PrevKv: true})
	txn := &pb.TxnRequest{}
	for i := range 6 {
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: fmt.Appendf(nil, "k%d", i), Value: make([]byte, 600<<10)},
		}})
	}
	kvClient, limit := pb.NewKVClient(n.Dial(t)), grpc.MaxCallSendMsgSize(8<<20)
	var keys []string
	for round := range 2 {
		if _, err := kvClient.Txn(bounded(t), txn, limit); err != nil {
			t.Fatal(err)
		}
		for last := false; !last; {
			r := s.receive()
			if size := proto.Size(r); size > 4<<20+512<<10 {
				t.Errorf("round %d: fragment of %d bytes", round, size)
			}
			for _, e := range r.Events {
				keys = append(keys, string(e.Kv.Key))
			}
			last = !r.Fragment
		}
	}
	want := []string{"k0", "k1", "k2", "k3", "k4", "k5"}
	if !slices.Equal(keys, append(want, want...)) {
		t.Errorf("events of %v", keys)
	}
}

// A connection carries as many streams as it may, and those beyond wait at the client.
func TestStreamsOfAConnection(t *testing.T) {
	const most = 16
	n := etcdapitest.Start(t, etcdapi.Limits{Streams: most})
	watches := pb.NewWatchClient(n.Dial(t))
	for range most {
		s, err := watches.Watch(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		create := &pb.WatchCreateRequest{Key: []byte("k")}
		err = s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := watches.Watch(ctx); status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("one more: %v", err)
	}
}
