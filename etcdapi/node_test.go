package etcdapi_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
)

// TestMembersOfOtherRegions are shown if it is wanted, and are not changed from here.
func TestMembersOfOtherRegions(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	ctx := bounded(t)
	api := etcdapi.New(etcdapi.Options{
		Store: n.Store, Lessor: n.Lessor, Replicator: n.Replicator, ClusterID: etcdapitest.ClusterID, AllRegions: true,
	})
	listed, err := api.Cluster().MemberList(ctx, &pb.MemberListRequest{})
	if err != nil || len(listed.Members) != 2 || listed.Members[1].Name != "other/test-1" ||
		listed.Members[1].ClientURLs[0] != "http://127.0.0.2:2379" || listed.Members[1].ID == listed.Members[0].ID {
		t.Fatalf("member list: %v, %v", listed, err)
	}
	c := client(t, n)
	if _, err := c.MemberRemove(ctx, listed.Members[1].ID); status.Code(err) != codes.FailedPrecondition ||
		!strings.Contains(err.Error(), "node test-1 of region other") {
		t.Errorf("removal of another region's node: %v", err)
	}
	if _, err := c.MemberPromote(ctx, listed.Members[1].ID); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("promotion of another region's node: %v", err)
	}
}

func TestMaintenance(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	put(t, n, "k", "v")
	s, err := c.Status(ctx, n.Endpoint)
	if err != nil || s.Leader != 1 || s.RaftTerm != 2 || !strings.HasPrefix(s.Version, "3.") || len(s.Errors) != 0 {
		t.Errorf("status: %v, %v", s, err)
	}
	first, err := c.HashKV(ctx, n.Endpoint, 0)
	if err != nil || first.HashRevision != 2 {
		t.Fatalf("hash: %v, %v", first, err)
	}
	put(t, n, "k", "w")
	if again, err := c.HashKV(ctx, n.Endpoint, 2); err != nil || again.Hash != first.Hash {
		t.Errorf("hash of the same revision later: %v, %v", again, err)
	}
	if now, err := c.HashKV(ctx, n.Endpoint, 0); err != nil || now.Hash == first.Hash {
		t.Errorf("hash of other contents: %v, %v", now, err)
	}
	if alarms, err := c.AlarmList(ctx); err != nil || len(alarms.Alarms) != 0 {
		t.Errorf("alarms: %v, %v", alarms, err)
	}
	if _, err := c.Defragment(ctx, n.Endpoint); err != nil {
		t.Errorf("defragment: %v", err)
	}
	if _, err := c.MoveLeader(
		ctx, 7,
	); rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCBadLeaderTransferee) {
		t.Errorf("leadership to nobody: %v", err)
	}
	if _, err := c.Auth.AuthStatus(ctx); err != nil {
		t.Errorf("auth status: %v", err)
	}
}

// What clients may ask is no bound for the alarm of the node itself.
func TestTheAlarmIsNoRequest(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{RequestBytes: 1})
	if err := n.API.RaiseNoSpace(bounded(t)); err != nil || !n.API.NoSpaceRaised() {
		t.Error(err)
	}
}

// While an alarm is raised, what needs space is refused and everything else goes on, as in etcd.
func TestNoSpace(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	put(t, n, "k", "v")
	held, err := c.Grant(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.API.RaiseNoSpace(ctx), n.API.RaiseNoSpace(ctx)); err != nil || !n.API.NoSpaceRaised() {
		t.Fatal(err)
	}
	is := clientv3.Compare(clientv3.Version("k"), "=", 1)
	for name, call := range map[string]func() error{
		"put":   func() error { _, err := c.Put(ctx, "k", "w"); return err },
		"grant": func() error { _, err := c.Grant(ctx, 10); return err },
		"txn":   func() error { _, err := c.Txn(ctx).If(is).Else(clientv3.OpPut("k", "w")).Commit(); return err },
		"nested txn": func() error {
			_, err := c.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("k", "w")}, nil)).Commit()
			return err
		},
	} {
		if err := call(); !errors.Is(err, rpctypes.ErrNoSpace) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, call := range map[string]func() error{
		"get":     func() error { _, err := c.Get(ctx, "k"); return err },
		"txn":     func() error { _, err := c.Txn(ctx).If(is).Then(clientv3.OpDelete("k")).Commit(); return err },
		"delete":  func() error { _, err := c.Delete(ctx, "k", clientv3.WithFromKey()); return err },
		"compact": func() error { _, err := c.Compact(ctx, n.Store.Revision()); return err },
		"renew":   func() error { _, err := c.KeepAliveOnce(ctx, held.ID); return err },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Revoke(ctx, held.ID); err != nil {
		t.Errorf("revoke: %v", err)
	}
	s, err := c.Status(ctx, n.Endpoint)
	if err != nil || len(s.Errors) != 1 || !strings.Contains(s.Errors[0], "NOSPACE") {
		t.Errorf("status: %v, %v", s, err)
	}
	alarms, err := c.AlarmList(ctx)
	if err != nil || len(alarms.Alarms) != 1 || alarms.Alarms[0].MemberID != s.Header.MemberId {
		t.Fatalf("alarms: %v, %v", alarms, err)
	}
	if _, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	put(t, n, "k", "x")
	bare := pb.NewMaintenanceClient(n.Dial(t))
	if _, err := bare.Alarm(ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_CORRUPT,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, "k"); !errors.Is(err, rpctypes.ErrCorrupt) {
		t.Errorf("CORRUPT: %v", err)
	}
	if _, err := bare.Alarm(ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, Alarm: 7,
	}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an alarm of no kind: %v", err)
	}
}

// clientv3 with a user name goes on without a token where authentication is off.
// The hash of a revision is what it was when the store is compacted, also at a deletion, and never zero.
func TestHashOutlastsCompaction(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	hash := func(revision int64) uint32 {
		r, err := c.HashKV(ctx, n.Endpoint, revision)
		if err != nil || r.Hash == 0 {
			t.Fatalf("hash at %d: %v, %v", revision, r, err)
		}
		return r.Hash
	}
	before := map[int64]uint32{}
	note := func() {
		now := hash(0)
		for revision, h := range before {
			if h == now {
				t.Errorf("the hash at %d is that of %d", n.Store.Revision(), revision)
			}
		}
		before[n.Store.Revision()] = now
	}
	note() // 1, of nothing
	for range 3 {
		put(t, n, "k", "v") // 2 to 4
		note()
	}
	if _, err := c.Delete(ctx, "k"); err != nil { // 5
		t.Fatal(err)
	}
	note()
	put(t, n, "k", "v") // 6
	note()
	for revision := int64(3); revision <= 6; revision++ {
		if _, err := c.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		for at := revision; at <= 6; at++ {
			if now := hash(at); now != before[at] {
				t.Errorf("compacted at %d: the hash at %d was %d and is %d", revision, at, before[at], now)
			}
		}
	}
}

func TestClientWithUser(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, err := clientv3.New(
		clientv3.Config{Endpoints: []string{n.Endpoint}, Username: "u", Password: "p", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Put(bounded(t), "k", "v"); err != nil {
		t.Error(err)
	}
}

func TestSnapshot(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	put(t, n, "k", strings.Repeat("v", 200<<10))
	r, err := client(t, n).Snapshot(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	content, digest := got[:len(got)-sha256.Size], got[len(got)-sha256.Size:]
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:], digest) || len(content)%512 != 0 || len(content) == 0 {
		t.Errorf("%d bytes with digest %x", len(content), digest)
	}
}

func TestHTTP(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	handler, err := n.API.HTTPHandler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	call := func(method, path, body string) (int, string) {
		r, err := http.NewRequestWithContext(bounded(t), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		all, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, strings.TrimSpace(string(all))
	}
	expect := func(method, path, body string, code int, contains string) {
		t.Helper()
		if got, text := call(method, path, body); got != code ||
			!strings.Contains(strings.ReplaceAll(text, ", ", ","), contains) {
			t.Errorf("%s %s: %d %s", method, path, got, text)
		}
	}
	expect("GET", "/health", "", 200, `{"health":"true","reason":""}`)
	expect("POST", "/health", "", 405, "")
	expect("OPTIONS", "/v3/kv/put", "", 200, "")
	expect("POST", "/v3beta/kv/range", `{"key":"aw=="}`, 200, `"revision":"1"`)
	expect("POST", "/v3alpha/kv/range", `{"key":"aw=="}`, 404, "")
	expect("GET", "/version", "", 200, `"etcdserver":"3.7.`)
	expect("GET", "/livez?verbose", "", 200, "[+]serializable_read ok\nok")
	expect("GET", "/readyz", "", 200, "ok")
	expect("GET", "/readyz?verbose&exclude=node_health&exclude=non_learner&exclude=nothing", "", 200,
		"[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok")
	expect("GET", "/readyz/linearizable_read?verbose", "", 200, "[+]linearizable_read ok\nok")
	expect("HEAD", "/readyz", "", 405, "")
	expect("GET", "/livez/nothing", "", 404, "404 page not found")
	expect("POST", "/v3/kv/put", `{"key":"aw==","value":"dg=="}`, 200, `"revision":"2"`)
	expect("POST", "/v3/kv/range", `{"key":"aw=="}`, 200,
		`"kvs":[{"key":"aw==","create_revision":"2","mod_revision":"2","version":"1","value":"dg=="}],"count":"1"`)
	expect("POST", "/v3/kv/range", `{}`, 400, "etcdserver: key is not provided")
	expect("POST", "/v3/lease/grant", `{"ID":"7","TTL":"100"}`, 200, `"ID":"7","TTL":"100"`)
	expect("POST", "/v3/lease/keepalive", `{"ID":"7"}`, 200, `"ID":"7","TTL":"100"`)
	if err := n.API.RaiseNoSpace(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("GET", "/health", "", 503, `{"health":"false","reason":"ALARM NOSPACE"}`)
	expect("GET", "/health?exclude=NOSPACE", "", 200, `{"health":"true"`)
	expect("POST", "/v3/kv/put", `{"key":"aw=="}`, 429, "etcdserver: mvcc: database space exceeded")
	expect("POST", "/v3/maintenance/alarm", `{"action":"DEACTIVATE","memberID":"1","alarm":"NOSPACE"}`, 200, "NOSPACE")
	n.Replicator.Fail(replication.ErrNotReady)
	expect("GET", "/health", "", 503, `{"health":"false","reason":"RANGE ERROR:`)
	expect("GET", "/health?serializable=true", "", 200, `{"health":"true"`)
	expect("GET", "/livez", "", 200, "ok")
	expect("GET", "/readyz", "", 503, "[-]linearizable_read failed: etcdserver: ")
	expect("GET", "/readyz/linearizable_read", "", 503, "[-]linearizable_read failed: etcdserver: ")
	n.Replicator.SetLeader(false)
	expect("GET", "/health", "", 503, `"health":"false"`)
}

// A JSON body that is too large is refused before it is read, and one that does not say how large it is, or that holds
// many messages, where it becomes so.
func TestJSONBodiesAreBounded(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{RequestBytes: 64 << 10})
	handler, err := n.API.HTTPHandler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	const limit = 2 * (64<<10 + 512<<10)
	post := func(path string, body io.Reader) int {
		t.Helper()
		response, err := server.Client().Post(server.URL+path, "application/json", body)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	large := `{"key":"` + strings.Repeat("YWFh", limit/4) + `"}`
	unread := &countedReader{Reader: strings.NewReader(large)}
	r, err := http.NewRequestWithContext(bounded(t), "POST", server.URL+"/v3/kv/put", unread)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(large))
	if response, err := server.Client().Do(r); err == nil {
		response.Body.Close()
		if response.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a large body: %d", response.StatusCode)
		}
	}
	if code := post("/v3/kv/put", struct{ io.Reader }{strings.NewReader(large)}); code != http.StatusBadRequest {
		t.Errorf("a large body of unknown size: %d", code)
	}
	watch := `{"create_request":` + large + `}`
	if response, err := server.Client().Post(server.URL+"/v3/watch", "application/json",
		struct{ io.Reader }{strings.NewReader(watch)}); err == nil {
		text, _ := io.ReadAll(response.Body)
		if response.Body.Close(); strings.Contains(string(text), "created") {
			t.Errorf("a large message of a stream: %s", text)
		}
	}
	for _, body := range []string{`{"create_request":`, `{"create_request":7}`} {
		if code := post("/v3/watch", strings.NewReader(body)); code == http.StatusOK {
			t.Errorf("a watch by %s: %d", body, code)
		}
	}
	for _, path := range []string{"/v3/watch", "/v3/lease/keepalive"} {
		form := &countedReader{Reader: strings.NewReader(strings.Repeat("a", 10<<20))}
		r := httptest.NewRequestWithContext(bounded(t), "POST", path, form)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-HTTP-Method-Override", "GET")
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if form.bytes > limit {
			t.Errorf("of a form for %s %d bytes were read", path, form.bytes)
		}
	}
	small := strings.Repeat(`{"ID":"7"}`, limit/8) // more than the limit in all
	if code := post("/v3/lease/keepalive", strings.NewReader(small)); code != http.StatusOK {
		t.Errorf("many messages: %d", code)
	}
}

type countedReader struct {
	io.Reader
	bytes int
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.bytes += n
	return n, err
}

// Answers that are being made take no more memory than they may, and give it back.
func TestAnswersAreBounded(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{AnswerBytes: 4 << 20})
	c, ctx := client(t, n), bounded(t)
	for i := range 8 {
		put(t, n, fmt.Sprintf("k/%d", i), strings.Repeat("v", 1<<20))
	}
	all := clientv3.OpGet("k/", clientv3.WithPrefix())
	for range 3 {
		for name, call := range map[string]func() error{
			"range": func() error { _, err := c.Do(ctx, all); return err },
			"txn":   func() error { _, err := c.Txn(ctx).Then(all).Commit(); return err },
			"stream that sorts": func() error {
				s, err := pb.NewKVClient(n.Dial(t)).RangeStream(ctx, &pb.RangeRequest{
					Key: []byte("k/"), RangeEnd: []byte("k0"), SortTarget: pb.RangeRequest_VERSION})
				if err == nil {
					_, err = s.Recv()
				}
				return err
			},
		} {
			if err := call(); status.Code(err) != codes.ResourceExhausted ||
				!strings.Contains(err.Error(), "max-answer-bytes") {
				t.Errorf("%s of everything: %v", name, err)
			}
		}
		if got, err := c.Get(ctx, "k/", clientv3.WithPrefix(), clientv3.WithLimit(2)); err != nil || len(got.Kvs) != 2 {
			t.Errorf("range with a limit: %v", err)
		}
	}
}

// A physical compaction is answered once its room is free at this node, also where it was applied at another one first.
func TestAPhysicalCompactionWaitsForThisNode(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	for range 8 {
		if _, err := c.Put(ctx, "k", "v"); err != nil {
			t.Fatal(err)
		}
	}
	for _, of := range []struct {
		revision int64
		options  []clientv3.CompactOption
		waits    bool
	}{{3, nil, false}, {5, []clientv3.CompactOption{clientv3.WithCompactPhysical()}, true}} {
		_, before := n.Replicator.Calls()
		if _, err := c.Compact(ctx, of.revision, of.options...); err != nil {
			t.Fatal(err)
		}
		if _, after := n.Replicator.Calls(); (after > before) != of.waits {
			t.Errorf("%d barriers at revision %d, waits: %t", after-before, of.revision, of.waits)
		}
	}
}
