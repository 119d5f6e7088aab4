package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/backup/mirror"
	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// world is a fleet and an etcd, each a node of its own.
type world struct {
	t           *testing.T
	fleet, etcd *clientv3.Client
	options     mirror.Options

	mu      sync.Mutex
	reached mirror.Progress
	trouble []string
}

func newWorld(t *testing.T) *world { return newWorldOf(t, etcdapi.Limits{}) }

// newWorldOf is newWorld with limits of the fleet.
func newWorldOf(t *testing.T, limits etcdapi.Limits) *world {
	from := etcdapitest.Start(t, limits)
	to := etcdapitest.StartWith(t, etcdapi.Options{ClusterID: etcdapitest.ClusterID + 1})
	w := &world{t: t, fleet: clientOf(t, from.Endpoint), etcd: clientOf(t, to.Endpoint)}
	w.options = mirror.Options{
		From: dial(from.Endpoint), To: dial(to.Endpoint), Poll: 10 * time.Millisecond,
		Report: w.report, Trouble: w.tell,
	}
	return w
}

func (w *world) report(p mirror.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reached = p
}

func (w *world) tell(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = append(w.trouble, err.Error())
}

func dial(endpoint string) func(context.Context) (*grpc.ClientConn, error) {
	return func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
}

func clientOf(t *testing.T, endpoint string) *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, MaxCallSendMsgSize: 16 << 20, MaxCallRecvMsgSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// begin starts a mirror; end ends it, and returns its error.
func (w *world) begin() (end func() error) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx, w.options) }()
	return sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

func (w *world) put(key, value string, o ...clientv3.OpOption) int64 {
	w.t.Helper()
	r, err := w.fleet.Put(w.t.Context(), key, value, o...)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Header.Revision
}

// contents returns what one side has, without places.
func contents(t *testing.T, c *clientv3.Client) map[string]string {
	r, err := c.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range r.Kvs {
		if !strings.HasPrefix(string(kv.Key), "mimir.mirror/") {
			all[string(kv.Key)] = fmt.Sprintf("%s under %x", kv.Value, kv.Lease)
		}
	}
	return all
}

// equal waits until the etcd has what the fleet has.
func (w *world) equal() {
	w.t.Helper()
	var want, got map[string]string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		want, got = contents(w.t, w.fleet), contents(w.t, w.etcd)
		if maps.Equal(want, got) {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Fatalf("the fleet has %v, the etcd %v; it is at %+v; trouble: %q", want, got, w.reached, w.trouble)
}

// settled waits until both are equal, and the mirror has noted in the etcd from where the next one goes on.
func (w *world) settled() {
	w.t.Helper()
	w.equal()
	w.await("it goes on from here", func() bool { p := w.at(); return !p.Comparing && p.Revision > 0 })
}

// What is put, deleted and changed together in the fleet is in the etcd, over restarts of the mirror, also while it is
// not there and where the history is compacted meanwhile.
func TestTheEtcdHasWhatTheFleetHas(t *testing.T) {
	w := newWorld(t)
	w.put("before", "1")
	end := w.begin()
	w.equal()
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 6 {
		for range 60 {
			key := fmt.Sprint("k", random.IntN(20))
			switch random.IntN(5) {
			case 0:
				if _, err := w.fleet.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			case 1: // more than goes into one transaction of an etcd, together with others
				var ops []clientv3.Op
				for i := range 100 {
					ops = append(ops, clientv3.OpPut(fmt.Sprint("many", i), fmt.Sprint(random.IntN(9))))
				}
				if _, err := w.fleet.Txn(t.Context()).Then(ops...).Commit(); err != nil {
					t.Fatal(err)
				}
			default:
				w.put(key, fmt.Sprint(random.IntN(1000)))
			}
		}
		last := w.put("round", fmt.Sprint(round))
		switch round {
		case 0, 3:
			w.equal()
			fallthrough
		case 1:
			if err := end(); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		case 2, 4:
			if round == 4 {
				if _, err := w.fleet.Compact(t.Context(), last); err != nil {
					t.Fatal(err)
				}
			}
			end = w.again(end)
		}
	}
	end = w.again(end)
	w.equal()
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// again ends one, if it has not ended, and begins another.
func (w *world) again(end func() error) func() error {
	_ = end()
	return w.begin()
}

// A prefix takes the place of another, and nothing beside it is touched.
func TestAPrefixOfMany(t *testing.T) {
	w := newWorld(t)
	w.options.Prefix, w.options.ToPrefix = "/app/", "/copy/"
	w.put("/app/a", "1")
	w.put("/other", "1")
	if _, err := w.etcd.Put(t.Context(), "/mine", "1"); err != nil {
		t.Fatal(err)
	}
	end := w.begin()
	last := w.put("/app/b", "2")
	w.put("/zzz", "3")
	want := map[string]string{"/copy/a": "1 under 0", "/copy/b": "2 under 0", "/mine": "1 under 0"}
	w.await("the prefix alone", func() bool { return maps.Equal(contents(t, w.etcd), want) })
	w.await("it knows that nothing else was changed", func() bool { return w.at().Revision > last })
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func (w *world) at() mirror.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reached
}

func (w *world) await(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s; it is at %+v, the etcd has %v", what, w.at(), contents(w.t, w.etcd))
		}
	}
}

// What somebody else has there stays, unless that is asked for.
func TestNothingOfOthersIsTaken(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	if _, err := w.etcd.Put(t.Context(), "theirs", "1"); err != nil {
		t.Fatal(err)
	}
	if err := mirror.Run(t.Context(), w.options); !errors.Is(err, mirror.ErrOccupied) {
		t.Fatal(err)
	}
	w.options.Overwrite = true
	end := w.begin()
	w.equal()
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.options.Overwrite, w.options.Prefix = false, "k"
	if err := mirror.Run(t.Context(), w.options); !errors.Is(err, mirror.ErrForeign) {
		t.Error(err)
	}
}

// Of two mirrors the one that was started later goes on.
func TestOneMirrorWrites(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	first := make(chan error, 1)
	go func() { first <- mirror.Run(t.Context(), w.options) }()
	w.equal()
	end := w.begin()
	w.await("the other one has begun", func() bool {
		w.put("k", fmt.Sprint(time.Now()))
		select {
		case err := <-first:
			return errors.Is(err, mirror.ErrOvertaken)
		default:
			return false
		}
	})
	w.equal()
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Leases are there with what is under them, are kept alive, and end when they end in the fleet. What ended in the etcd
// alone comes back.
func TestLeasesComeAndGo(t *testing.T) {
	w := newWorld(t)
	grant := func(ttl int64) clientv3.LeaseID {
		r, err := w.fleet.Grant(t.Context(), ttl)
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	long, short := grant(600), grant(2)
	w.put("long", "1", clientv3.WithLease(long))
	w.put("short", "1", clientv3.WithLease(short))
	if _, err := w.fleet.KeepAlive(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	end := w.begin()
	w.equal()
	leases := func() int {
		r, err := w.etcd.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Leases)
	}
	if n := leases(); n != 2 {
		t.Errorf("%d leases", n)
	}
	began := time.Now()
	w.await("the short one outlives its time", func() bool { return time.Since(began) > 3*time.Second })
	w.equal()
	if _, err := w.etcd.Revoke(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	end = w.again(end)
	w.equal()
	w.put("long", "2", clientv3.WithLease(long))
	w.equal()
	if _, err := w.fleet.Revoke(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	w.equal()
	w.await("the lease ends", func() bool { return leases() == 1 })
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What an etcd does not take ends it with the reason.
func TestWhatTheEtcdRefusesIsSaid(t *testing.T) {
	w := newWorld(t)
	w.options.MostOps = 1 << 20
	w.put("k", "1")
	end := w.begin()
	w.equal()
	done := make(chan error, 1)
	go func() { done <- end() }()
	<-done
	for i := range 300 {
		w.put(fmt.Sprint("k", i), "1")
	}
	if err := mirror.Run(t.Context(), w.options); !errors.Is(err, mirror.ErrRefused) ||
		!strings.Contains(err.Error(), "too many operations") {
		t.Error(err)
	}
	w.options.MostOps = mirror.DefaultMostOps
	end = w.begin()
	w.equal()
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A value that is beyond what the etcd takes in a message is said as well, with its key, and not tried for ever; an
// etcd that lacks room is tried again.
func TestAValueBeyondTheLimitIsSaid(t *testing.T) {
	w := newWorldOf(t, etcdapi.Limits{RequestBytes: 8 << 20})
	w.put("large", strings.Repeat("x", 3<<20))
	if err := mirror.Run(t.Context(), w.options); !errors.Is(err, mirror.ErrRefused) ||
		!strings.Contains(err.Error(), `bytes of key "large"`) || !strings.Contains(err.Error(), "larger than max") {
		t.Error(err)
	}
	if _, err := w.fleet.Delete(t.Context(), "large"); err != nil {
		t.Fatal(err)
	}
	var full atomic.Bool
	full.Store(true)
	w.put("k", "1")
	w.toEtcd(func(method string, _ any, call func() error) error {
		if method == "Txn" && full.Load() {
			return rpctypes.ErrGRPCNoSpace
		}
		return call()
	})
	end := w.begin()
	w.await("it is told", func() bool { return w.told("space exceeded") })
	full.Store(false)
	w.settled()
	w.stop(end)
}
