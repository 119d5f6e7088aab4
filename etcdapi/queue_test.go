package etcdapi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// queues is a node with leases 1 to 4, and the services that have queues.
type queues struct {
	*testing.T
	*etcdapitest.Node
	ctx      context.Context
	kv       pb.KVClient
	lease    pb.LeaseClient
	lock     v3lockpb.LockClient
	election v3electionpb.ElectionClient
}

func newQueues(t *testing.T) *queues { return newQueuesBy(t, clock.Real) }

func newQueuesBy(t *testing.T, by clock.Clock) *queues {
	n := etcdapitest.StartWith(t, etcdapi.Options{Limits: etcdapi.Limits{RequestTimeout: patience}, Clock: by})
	c := n.Dial(t)
	q := &queues{T: t, Node: n, ctx: bounded(t), kv: pb.NewKVClient(c), lease: pb.NewLeaseClient(c),
		lock: v3lockpb.NewLockClient(c), election: v3electionpb.NewElectionClient(c)}
	for id := range int64(4) {
		_, err := q.lease.LeaseGrant(q.ctx, &pb.LeaseGrantRequest{ID: id + 1, TTL: 3600})
		q.must(err)
	}
	return q
}

func (q *queues) must(err error) {
	q.Helper()
	if err != nil {
		q.Fatal(err)
	}
}

// locks locks, and says by the channel with what end.
func (q *queues) locks(ctx context.Context, lease int64) chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := q.lock.Lock(ctx, &v3lockpb.LockRequest{Name: []byte("l"), Lease: lease})
		ended <- err
	}()
	return ended
}

func (q *queues) campaigns(lease int64) chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := q.election.Campaign(q.ctx, &v3electionpb.CampaignRequest{Name: []byte("l"), Lease: lease})
		ended <- err
	}()
	return ended
}

// comesTo waits until there are so many keys.
func (q *queues) comesTo(n int64) {
	q.Helper()
	q.until(func(now int64) bool { return now == n })
}

// until waits until there are as many keys as it takes.
func (q *queues) until(enough func(n int64) bool) {
	q.Helper()
	for {
		r, err := q.kv.Range(q.ctx, &pb.RangeRequest{Key: []byte("l/"), RangeEnd: []byte("l0"), CountOnly: true})
		q.must(err)
		if enough(r.Count) {
			return
		}
		select {
		case <-q.ctx.Done():
			q.Fatalf("there are %d keys: %v", r.Count, q.ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func (q *queues) revoke(lease int64) {
	q.Helper()
	_, err := q.lease.LeaseRevoke(q.ctx, &pb.LeaseRevokeRequest{ID: lease})
	q.must(err)
}

// Who waits is told at once that his lease has ended, and not when it would have been his turn; and nobody is leader by
// a key that is gone.
func TestWhoWaitsWaitsNoLongerThanHisLease(t *testing.T) {
	q := newQueues(t)
	q.must(<-q.locks(q.ctx, 1))
	locks, campaigns := q.locks(q.ctx, 2), q.campaigns(3)
	q.comesTo(3)
	q.revoke(2)
	q.revoke(3)
	if err := <-locks; told(err) != "mutex: session is expired" || status.Code(err) != codes.Unknown {
		t.Errorf("a lock whose lease has ended: %v", err)
	}
	if err := <-campaigns; told(err) != "election: not leader" {
		t.Errorf("a candidate whose lease has ended: %v", err)
	}
	own, err := q.lock.Lock(q.ctx, &v3lockpb.LockRequest{Name: []byte("own")})
	q.must(err)
	var id int64
	if _, err := fmt.Sscanf(string(own.Key), "own/%x", &id); err != nil {
		t.Fatal(err)
	}
	ttl, err := q.lease.LeaseTimeToLive(q.ctx, &pb.LeaseTimeToLiveRequest{ID: id})
	if err != nil || ttl.GrantedTTL != 60 {
		t.Errorf("a lock without a lease has %v, %v; want 60 s", ttl, err)
	}
}

// Who leaves does not get what he waited for, and the next one need not wait for him.
func TestWhoLeavesAQueueLeavesNothing(t *testing.T) {
	q := newQueues(t)
	q.must(<-q.locks(q.ctx, 1))
	leaving, leave := context.WithCancel(q.ctx)
	late, cancel := context.WithTimeout(q.ctx, 300*time.Millisecond)
	defer cancel()
	left, ended := q.locks(leaving, 2), q.locks(late, 3)
	q.until(func(n int64) bool { return n == 3 || late.Err() != nil })
	next := q.locks(q.ctx, 4)
	q.until(func(n int64) bool { return n == 4 || n == 3 && late.Err() != nil })
	leave()
	if err := <-left; status.Code(err) != codes.Canceled {
		t.Errorf("who left: %v", err)
	}
	if err := <-ended; status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("who had a deadline: %v", err)
	}
	q.comesTo(2)
	_, err := q.lock.Unlock(q.ctx, &v3lockpb.UnlockRequest{Key: []byte("l/1")})
	q.must(err)
	q.must(<-next)
}

// Who did not hear that he came in, and named no lease, leaves no key behind that nobody knows of, and no lease.
func TestWhoDoesNotHearThatHeCameInLeavesNothing(t *testing.T) {
	q := newQueues(t)
	q.Replicator.LoseAnswersOf(func(command []byte) bool { return bytes.Contains(command, []byte("l/")) })
	for _, end := range []chan error{q.locks(q.ctx, 0), q.campaigns(0)} {
		if err := <-end; err == nil {
			t.Error("an answer that was lost is none")
		}
	}
	q.comesTo(0)
	for {
		r, err := q.lease.LeaseLeases(q.ctx, &pb.LeaseLeasesRequest{})
		if q.must(err); len(r.Leases) == 4 {
			return
		}
	}
}

// A primary that does not answer for a while takes nobody's place: neither its silence nor the limit of one request
// ends the wait.
func TestWhoWaitsOutwaitsAnOutage(t *testing.T) {
	q := newQueues(t)
	q.must(<-q.locks(q.ctx, 1))
	locks := q.locks(q.ctx, 2)
	q.comesTo(2)
	tried := make(chan struct{}, 1)
	q.Replicator.AtBarriers(func() {
		select {
		case tried <- struct{}{}:
		default:
		}
	})
	held, release := q.Replicator.HoldWrites()
	unlocked := make(chan error, 1)
	go func() {
		_, err := q.lock.Unlock(q.ctx, &v3lockpb.UnlockRequest{Key: []byte("l/1")})
		unlocked <- err
	}()
	for held() == 0 {
		if q.ctx.Err() != nil {
			t.Fatal("the unlock does not come")
		}
	}
	q.Replicator.FailBarriers(fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	release()
	q.must(<-unlocked)
	q.API.SetLimits(etcdapi.Limits{RequestTimeout: 50 * time.Millisecond}) // the outage is longer
	for range 3 {
		select {
		case <-tried:
		case err := <-locks:
			t.Fatalf("the wait ends with the outage: %v", err)
		}
	}
	q.Replicator.FailBarriers(nil)
	q.must(<-locks)
}

// quick is a clock that runs so many times as fast as the real one.
const quick = 200

type quickClock struct {
	clock.Clock
	began time.Time
}

func (c quickClock) Now() time.Time { return c.began.Add(quick * time.Since(c.began)) }

func (c quickClock) NewTimer(d time.Duration) clock.Timer { return c.Clock.NewTimer(d / quick) }

// Who waits at a node that hears of nothing any more is told so when his lease may have ended: it has to be renewed,
// and the primary does not say that it is.
func TestWhoWaitsAtANodeThatIsCutOffIsToldSo(t *testing.T) {
	q := newQueuesBy(t, quickClock{clock.Real, time.Now()})
	_, err := q.lease.LeaseGrant(q.ctx, &pb.LeaseGrantRequest{ID: 5, TTL: 60})
	q.must(err)
	_, err = q.lease.LeaseGrant(q.ctx, &pb.LeaseGrantRequest{ID: 6, TTL: 60})
	q.must(err)
	q.must(<-q.locks(q.ctx, 1))
	locks, campaigns := q.locks(q.ctx, 5), q.campaigns(6)
	q.comesTo(3)
	q.Replicator.Fail(fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	for what, ended := range map[string]chan error{"lock": locks, "campaign": campaigns} {
		if err := <-ended; told(err) != "etcdserver: no leader" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Somebody who may not watch an election is told so, and not that it is over.
func TestWhoMayNotObserveIsToldSo(t *testing.T) {
	g := guard(t, etcdapi.Options{})
	ctx := metadata.AppendToOutgoingContext(bounded(t), "token", g.token(t, "ann", "pa55"))
	election := v3electionpb.NewElectionClient(g.connection)
	for name, want := range map[string]string{"z": denied, "r": ""} {
		stream, err := election.Observe(ctx, &v3electionpb.LeaderRequest{Name: []byte(name)})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			continue // it waits for somebody
		}
		if _, err := stream.Recv(); told(err) != want {
			t.Errorf("observes %s: %v, want %s", name, err, want)
		}
	}
}

// Over JSON many may wait at a time, whatever they say of the size of their bodies.
func TestQueuesInJSON(t *testing.T) {
	q := newQueues(t)
	handler, err := q.API.HTTPHandler(q.ctx)
	q.must(err)
	server := httptest.NewServer(handler)
	defer server.Close()
	post := func(path, body string) string {
		response, err := server.Client().Post(server.URL+path, "application/json",
			struct{ io.Reader }{strings.NewReader(body)}) // of no known length
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		all, err := io.ReadAll(response.Body)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(response.StatusCode, " ", string(all))
	}
	if got := post("/v3/lock/lock", `{"name":"bA==","lease":1}`); !strings.Contains(got, `"key":"bC8x"`) {
		t.Fatalf("lock: %s", got)
	}
	const waiting = 40 // more than the bodies that are read at a time, if each is taken for as large as can be
	ended := make(chan string, waiting)
	for i := range waiting {
		_, err := q.lease.LeaseGrant(q.ctx, &pb.LeaseGrantRequest{ID: int64(100 + i), TTL: 3600})
		q.must(err)
		go func() { ended <- post("/v3/lock/lock", fmt.Sprintf(`{"name":"bA==","lease":%d}`, 100+i)) }()
	}
	q.comesTo(waiting + 1)
	for i := range waiting {
		q.revoke(int64(100 + i))
	}
	for range waiting {
		if got := <-ended; !strings.Contains(got, "500") || !strings.Contains(got, "mutex: session is expired") {
			t.Errorf("whose lease has ended: %s", got)
		}
	}
	for _, one := range []struct{ path, body, want string }{
		{"/v3/lock/unlock", `{"key":"bC8x"}`, "200 "},
		{"/v3/election/leader", `{"name":"ZQ=="}`, "election: no leader"},
		{"/v3/election/campaign", `{"name":"ZQ==","lease":1,"value":"YQ=="}`, `"key":"ZS8x"`},
		{"/v3/election/leader", `{"name":"ZQ=="}`, `"value":"YQ=="`},
		{"/v3/election/proclaim", `{"leader":{"name":"ZQ==","key":"ZS8x","rev":1,"lease":1}}`, "election: not leader"},
		{"/v3/election/resign", `{}`, `\"leader\" field must be provided`},
	} {
		if got := post(one.path, one.body); !strings.Contains(got, one.want) {
			t.Errorf("%s %s: %s, want %s", one.path, one.body, got, one.want)
		}
	}
	observed, err := server.Client().Post(server.URL+"/v3/election/observe", "application/json",
		strings.NewReader(`{"name":"ZQ=="}`))
	q.must(err)
	defer observed.Body.Close()
	line, err := bufio.NewReader(observed.Body).ReadString('\n')
	if err != nil || !strings.Contains(line, `"value":"YQ=="`) {
		t.Errorf("observe: %s, %v", line, err)
	}
}
