package etcdapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// short starts a node of a fleet of two regions, of which the other one has nothing in time. The keys of /pay/ are for
// both.
func short(t *testing.T, o etcdapi.Options) *etcdapitest.Node {
	t.Helper()
	o.Limits.Durability.Prefixes = map[string]etcdapi.Durability{"/pay/": regionsBeside(t, 1)}
	n := etcdapitest.StartWith(t, o)
	etcdapitest.Beside(n.Replicator, "eu")
	etcdapitest.Shorten(n.Replicator,
		fmt.Errorf("%w: position 7 is in 1 of 2 regions: us", replication.ErrUnderReplicated))
	return n
}

// done has commands be applied, whoever asks for them.
func done(t *testing.T, n *etcdapitest.Node, commands ...[]byte) {
	t.Helper()
	for _, c := range commands {
		if _, err := n.Replicator.Propose(t.Context(), []*replication.Command{{Data: c}}); err != nil {
			t.Error(err)
		}
	}
}

// TestAnAlarmThatIsInTooFewRegionsIsNotAskedForAgain: clientv3 repeats a request about alarms that is Unavailable. One
// that disarms several alarms does all of that, and waits once.
func TestAnAlarmThatIsInTooFewRegionsIsNotAskedForAgain(t *testing.T) {
	n := short(t, etcdapi.Options{})
	c := pb.NewMaintenanceClient(n.Dial(t))
	ctx := durability(bounded(t), "all")
	alarm := func(kind pb.AlarmType, action pb.AlarmRequest_AlarmAction) *pb.AlarmRequest {
		return &pb.AlarmRequest{Alarm: kind, Action: action, MemberID: 7}
	}
	for _, kind := range []pb.AlarmType{command.AlarmDiffers, command.AlarmUnsure} {
		done(t, n, command.EncodeAlarm(alarm(kind, pb.AlarmRequest_ACTIVATE)))
	}
	if !kv.Compared(n.Store, 7) {
		t.Fatal("nothing is raised")
	}
	for _, r := range []*pb.AlarmRequest{
		alarm(pb.AlarmType_NOSPACE, pb.AlarmRequest_ACTIVATE), alarm(pb.AlarmType_NOSPACE, pb.AlarmRequest_DEACTIVATE),
		alarm(pb.AlarmType_CORRUPT, pb.AlarmRequest_DEACTIVATE),
	} {
		before, _ := etcdapitest.Proposals(n.Replicator)
		_, err := c.Alarm(ctx, r)
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition ||
			!strings.Contains(s.Message(), "committed") {
			t.Errorf("%v: %v", r, err)
		}
		asked, _ := etcdapitest.Proposals(n.Replicator)
		if waits := len(slices.DeleteFunc(asked[len(before):], func(k int) bool { return k == 1 })); waits != 1 {
			t.Errorf("%v: %d writes wait", r, waits)
		}
	}
	if left := n.Store.Alarms(); len(left) != 0 || kv.Compared(n.Store, 7) {
		t.Errorf("still raised: %v, or that it differs", left)
	}
}

// TestALeaseIsRevokedAsItsKeysDemand, also at a node that has not heard yet that they have it.
func TestALeaseIsRevokedAsItsKeysDemand(t *testing.T) {
	grant := command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 5, TTL: 600})
	put := command.EncodePut(&pb.PutRequest{Key: []byte("/pay/1"), Lease: 5})
	for name, prepare := range map[string]func(n *etcdapitest.Node){
		"at a node that knows": func(n *etcdapitest.Node) { done(t, n, grant, put) },
		"at one that is behind": func(n *etcdapitest.Node) {
			done(t, n, grant)
			n.Replicator.AtBarriers(sync.OnceFunc(func() { done(t, n, put) }))
		},
	} {
		n := short(t, etcdapi.Options{})
		prepare(n)
		_, err := pb.NewLeaseClient(n.Dial(t)).LeaseRevoke(bounded(t), &pb.LeaseRevokeRequest{ID: 5})
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition ||
			!strings.Contains(s.Message(), "committed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestALockWaitsForOtherRegionsOnce: the lease that it gets is before its key, and goes where that goes.
func TestALockWaitsForOtherRegionsOnce(t *testing.T) {
	n := short(t, etcdapi.Options{})
	_, err := v3lockpb.NewLockClient(n.Dial(t)).Lock(durability(bounded(t), "regions=1"),
		&v3lockpb.LockRequest{Name: []byte("l")})
	if status.Code(err) != codes.Unavailable || !strings.Contains(status.Convert(err).Message(), "committed") {
		t.Error(err)
	}
	if asked, _ := etcdapitest.Proposals(n.Replicator); !slices.Equal(asked, []int{1, 2, 1}) {
		t.Errorf("its lease, its key and the end of the lease were for %v regions", asked)
	}
	if left := n.Store.Leases(); len(left) != 0 {
		t.Errorf("its lease is left: %v", left)
	}
}

// TestWhoCountsTheRegions: the leader counts what has a name, and is told a number if it is of an earlier version. A
// node that knows none is not ready, and says that.
func TestWhoCountsTheRegions(t *testing.T) {
	for _, c := range []struct {
		what, said string
		prepare    func(*etcdapitest.Replicator)
		code       codes.Code
		text       string
		asked      []int
	}{
		{"not ready", "regions=1", etcdapitest.Begin, codes.Unavailable, "etcdserver: no leader", nil},
		{"not ready", "all", etcdapitest.Begin, codes.Unavailable, "etcdserver: no leader", nil},
		{"a number", "regions=2", nil, codes.OK, "", []int{3}},
		{"all", "all", nil, codes.OK, "", []int{255}},
		{"a quorum", "quorum", nil, codes.OK, "", []int{254}},
		{"all, of an older leader", "all", etcdapitest.BeLedByOlder, codes.OK, "", []int{255, 4}},
		{"a quorum, of an older leader", "quorum", etcdapitest.BeLedByOlder, codes.OK, "", []int{254, 3}},
		{"as many as there are, of an older leader", "regions=3", etcdapitest.BeLedByOlder, codes.OK, "", []int{4}},
		{"nothing may be lost, and one votes beside the primary", "regions=2", func(r *etcdapitest.Replicator) {
			etcdapitest.Vote(r, "eu", "test", "witness/w")
		}, codes.FailedPrecondition, "the fleet has 1 region beside the primary that vote", nil},
		{"nothing may be lost, and one is enough", "regions=1", func(r *etcdapitest.Replicator) {
			etcdapitest.Vote(r, "eu", "test", "witness/w")
		}, codes.OK, "", []int{2}},
		{"nothing may be lost, all of an older leader", "all", func(r *etcdapitest.Replicator) {
			etcdapitest.Vote(r, "eu", "test", "witness/w")
			etcdapitest.BeLedByOlder(r)
		}, codes.OK, "", []int{255, 2}},
	} {
		n := etcdapitest.StartPlain(t)
		etcdapitest.Beside(n.Replicator, "ap", "eu", "sa")
		if c.prepare != nil {
			c.prepare(n.Replicator)
		}
		_, err := pb.NewKVClient(n.Dial(t)).Put(durability(bounded(t), c.said), &pb.PutRequest{Key: []byte("k")})
		asked, _ := etcdapitest.Proposals(n.Replicator)
		s := status.Convert(err)
		if s.Code() != c.code || !strings.Contains(s.Message(), c.text) || !slices.Equal(asked, c.asked) {
			t.Errorf("%s, %s: %v, asked for %v", c.what, c.said, err, asked)
		}
	}
}

// TestWritesThatWaitForOtherRegionsAreBounded: those of a region that is away come together.
func TestWritesThatWaitForOtherRegionsAreBounded(t *testing.T) {
	n := short(t, etcdapi.Options{Limits: etcdapi.Limits{DurableBytes: 20 << 10}})
	etcdapitest.Shorten(n.Replicator, nil)
	c := pb.NewKVClient(n.Dial(t))
	held, release := n.Replicator.HoldWrites()
	var all sync.WaitGroup
	put := func(ctx context.Context, bytes int) error {
		_, err := c.Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, bytes)})
		return err
	}
	begin := func(ctx context.Context) {
		before := held()
		all.Go(func() {
			if err := put(ctx, 1); err != nil {
				t.Error(err)
			}
		})
		for held() == before {
			time.Sleep(time.Millisecond)
		}
	}
	ctx := bounded(t)
	begin(durability(ctx, "all"))
	begin(durability(ctx, "quorum"))
	err := put(durability(ctx, "regions=1"), 1)
	if s := status.Convert(err); s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "was written") {
		t.Errorf("the third: %v", err)
	}
	begin(ctx) // it waits for none
	release()
	all.Wait()
	if err := put(durability(ctx, "all"), 100<<10); err != nil { // alone
		t.Error(err)
	}
}

// TestAWriteDoesNotWaitForAPrimaryAsLongAsForRegions: that may be a day.
func TestAWriteDoesNotWaitForAPrimaryAsLongAsForRegions(t *testing.T) {
	for name, silence := range map[string]func(*etcdapitest.Replicator){
		"the primary is silent":    func(r *etcdapitest.Replicator) { r.Unheard(time.Hour) },
		"the region has no leader": func(r *etcdapitest.Replicator) { r.SetLeader(false) },
	} {
		n := etcdapitest.Start(t, etcdapi.Limits{
			RequestTimeout: 50 * time.Millisecond, Durability: etcdapi.DurabilityRules{Timeout: 24 * time.Hour},
		})
		etcdapitest.Beside(n.Replicator, "eu")
		etcdapitest.Stall(n.Replicator)
		if name == "the primary is silent" {
			n.Replicator.Follow("us", true)
		} else {
			etcdapitest.Reign(n.Replicator)
		}
		ended, c, ctx := make(chan error, 1), pb.NewKVClient(n.Dial(t)), bounded(t)
		go func() {
			_, err := c.Put(durability(ctx, "regions=1"), &pb.PutRequest{Key: []byte("k")})
			ended <- err
		}()
		for asked := []int(nil); len(asked) == 0; asked, _ = etcdapitest.Proposals(n.Replicator) {
			time.Sleep(time.Millisecond)
		}
		silence(n.Replicator)
		if err := <-ended; rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCNoLeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWritesThatWaitForOtherRegionsAreTold to whoever counts them, once each.
func TestWritesThatWaitForOtherRegionsAreTold(t *testing.T) {
	var mu sync.Mutex
	var told []string
	n := short(t, etcdapi.Options{OnDurable: func(how, outcome string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, how+" "+outcome)
		if took < 0 || took > 2*patience {
			t.Errorf("it took %v", took)
		}
	}})
	c, ctx := pb.NewKVClient(n.Dial(t)), bounded(t)
	put := func(said, key string) {
		_, _ = c.Put(durability(ctx, said), &pb.PutRequest{Key: []byte(key)})
	}
	put("local", "a")
	put("all", "a")
	put("local", "/pay/1")
	put("regions=9", "a")
	etcdapitest.Shorten(n.Replicator, nil)
	put("quorum", "a")
	n.Replicator.Fail(replication.ErrUnknownOutcome)
	put("all", "a")
	n.Replicator.Fail(fmt.Errorf("%w: on purpose", replication.ErrRejected))
	put("regions=1", "a")
	want := []string{"all late", "regions late", "regions refused", "quorum had", "all failed", "regions refused"}
	if mu.Lock(); !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	mu.Unlock()
}

// TestDurabilityOverJSON: a header says it, and the answer has what that of gRPC has.
func TestDurabilityOverJSON(t *testing.T) {
	n := short(t, etcdapi.Options{})
	handler, err := n.API.HTTPHandler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	for said, c := range map[string]struct {
		code int
		text string
	}{
		"regions=1": {http.StatusServiceUnavailable, `"revision":"2"`},
		"most":      {http.StatusBadRequest, "none of local"},
	} {
		r, err := http.NewRequestWithContext(bounded(t), http.MethodPost, server.URL+"/v3/kv/put",
			strings.NewReader(`{"key":"YQ=="}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Grpc-Metadata-mimir-durability", said)
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != c.code || !strings.Contains(string(body), c.text) {
			t.Errorf("%s: %s, %s, %v", said, response.Status, body, err)
		}
	}
}
