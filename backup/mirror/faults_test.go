package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/backup/mirror"
	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// through dials an endpoint, with something between.
func through(endpoint string, between func(method string, request any, call func() error) error) sides.Dial {
	return func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(func(ctx context.Context, method string, q, r any, conn *grpc.ClientConn,
				invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
				return between(method[strings.LastIndex(method, "/")+1:], q, func() error {
					return invoke(ctx, method, q, r, conn, o...)
				})
			}))
	}
}

// toEtcd has something between the mirror and the etcd.
func (w *world) toEtcd(between func(method string, request any, call func() error) error) {
	w.options.To = through(w.etcd.Endpoints()[0], between)
}

func (w *world) grant() clientv3.LeaseID {
	w.t.Helper()
	r, err := w.fleet.Grant(w.t.Context(), 600)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

func (w *world) told(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(strings.Join(w.trouble, "\n"), what)
}

// changePlace has the place be something else.
func (w *world) changePlace(from, to string) {
	w.t.Helper()
	key := "mimir.mirror/place/" + w.options.ToPrefix
	r, err := w.etcd.Get(w.t.Context(), key)
	if err != nil || len(r.Kvs) != 1 || !strings.Contains(string(r.Kvs[0].Value), from) {
		w.t.Fatal(err, r)
	}
	if _, err := w.etcd.Put(w.t.Context(), key, strings.Replace(string(r.Kvs[0].Value), from, to, 1)); err != nil {
		w.t.Fatal(err)
	}
}

// stop ends a mirror that is to run.
func (w *world) stop(end func() error) {
	w.t.Helper()
	if err := end(); !errors.Is(err, context.Canceled) {
		w.t.Error(err)
	}
}

// A lease that ends in the etcd behind the look at it, and the keys under it, comes back with them.
func TestALeaseThatEndsMeanwhileComesBack(t *testing.T) {
	for name, compares := range map[string]bool{
		"as it is asked about": false, "behind a page of the comparison": true,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			lease := w.grant()
			w.put("k", "1", clientv3.WithLease(lease))
			end := w.begin()
			w.settled()
			w.stop(end)
			ended := make(chan struct{})
			revoke := sync.OnceFunc(func() {
				if _, err := w.etcd.Revoke(t.Context(), lease); err != nil {
					t.Error(err)
				}
				close(ended)
			})
			between := func(method string, request any, call func() error) error {
				err := call()
				if r, is := request.(*pb.RangeRequest); is && r.Limit > 1 || method == "LeaseTimeToLive" {
					revoke()
				}
				return err
			}
			if compares {
				w.changePlace(`"revision":`, `"comparing":true,"revision":`)
				w.toEtcd(between)
			} else {
				w.options.From = through(w.fleet.Endpoints()[0], between)
			}
			end = w.begin()
			<-ended
			w.put("other", "2")
			w.settled()
			w.stop(end)
		})
	}
}

// As long as what ended with a lease is not there again it is not said that everything is.
func TestWhatIsMissingIsNotSaidToBeThere(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1", clientv3.WithLease(w.grant()))
	end := w.begin()
	w.settled()
	w.stop(end)
	w.endThere()
	said := 0
	w.options.Poll = time.Nanosecond
	w.options.Report = func(p mirror.Progress) {
		w.report(p)
		if said++; p.Whole() && contents(t, w.etcd)["k"] == "" {
			t.Errorf("report %d, without what has ended: %+v", said, p)
		}
	}
	end = w.begin()
	w.equal()
	w.await("it is said", func() bool { return w.at().Whole() })
	w.stop(end)
}

// A mirror that is killed as it has granted a lease anew, and brought nothing that is under it, is gone on with.
func TestAKillBetweenALeaseAndItsKeys(t *testing.T) {
	w := newWorld(t)
	lease := w.grant()
	w.put("k", "1", clientv3.WithLease(lease))
	end := w.begin()
	w.settled()
	w.stop(end)
	if _, err := w.etcd.Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	to := w.options.To
	ctx, kill := context.WithCancel(t.Context())
	w.toEtcd(func(method string, _ any, call func() error) error {
		err := call()
		if method == "LeaseGrant" {
			kill()
		}
		return err
	})
	if err := mirror.Run(ctx, w.options); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.options.To = to
	end = w.begin()
	w.settled()
	w.stop(end)
}

// An endpoint of the fleet that answers from a history that the etcd is ahead of changes nothing.
func TestAnEndpointThatIsBehindIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.put(fmt.Sprint("k", i), "new")
	}
	end := w.begin()
	w.settled()
	w.stop(end)
	behind := etcdapitest.StartPlain(t)
	if _, err := clientOf(t, behind.Endpoint).Put(t.Context(), "k1", "old"); err != nil {
		t.Fatal(err)
	}
	fleet, first := w.options.From, true
	w.options.From = func(ctx context.Context) (*grpc.ClientConn, error) {
		if first {
			first = false
			return dial(behind.Endpoint)(ctx)
		}
		return fleet(ctx)
	}
	var old atomic.Int64
	w.toEtcd(func(_ string, request any, call func() error) error {
		if strings.Contains(fmt.Sprint(request), `"old"`) {
			old.Add(1)
		}
		return call()
	})
	end = w.begin()
	w.put("k1", "newer")
	w.settled()
	w.stop(end)
	if old.Load() > 0 || !w.told("cut off") {
		t.Errorf("%d of its values were put; trouble: %q", old.Load(), w.trouble)
	}
}

// A login that is over may lead to another node. What that says of leases from before what the etcd has ends none.
func TestANodeThatIsBehindEndsNoLease(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1", clientv3.WithLease(w.grant()))
	w.put("other", "1")
	behind, fleet := etcdapitest.StartPlain(t), w.fleet.Endpoints()[0]
	var dialed, revoked atomic.Int64
	var over atomic.Bool
	w.options.From = func(ctx context.Context) (*grpc.ClientConn, error) {
		switch dialed.Add(1) {
		case 1:
			return through(fleet, func(_ string, _ any, call func() error) error {
				if over.Load() {
					return rpctypes.ErrGRPCInvalidAuthToken
				}
				return call()
			})(ctx)
		case 2:
			return dial(behind.Endpoint)(ctx)
		}
		return dial(fleet)(ctx)
	}
	w.toEtcd(func(method string, _ any, call func() error) error {
		if method == "LeaseRevoke" {
			revoked.Add(1)
		}
		return call()
	})
	end := w.begin()
	w.equal()
	over.Store(true)
	w.await("another node is asked, and not believed", func() bool { return dialed.Load() > 2 })
	w.put("k2", "1")
	w.settled()
	w.stop(end)
	if revoked.Load() > 0 || !w.told("cut off") {
		t.Errorf("%d leases were revoked; trouble: %q", revoked.Load(), w.trouble)
	}
}

// A comparison that is broken off is done over, also where the history leads on from the place of before.
func TestAComparisonThatIsBrokenOffIsDoneOver(t *testing.T) {
	w := newWorld(t)
	w.options.MostOps = mirror.LeastOps
	w.put("k", "1")
	end := w.begin()
	w.settled()
	w.stop(end)
	w.put("a", "of the fleet")
	last := w.put("b", "of the fleet")
	if _, err := w.fleet.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	to, changes := w.options.To, 0
	ctx, kill := context.WithCancel(t.Context())
	w.toEtcd(func(method string, _ any, call func() error) error {
		err := call()
		if method == "Txn" {
			if changes++; changes == 3 { // the claim, that it compares, the first change
				kill()
			}
		}
		return err
	})
	if err := mirror.Run(ctx, w.options); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	other := etcdapitest.StartPlain(t) // the fleet, with another history
	w.fleet, w.options.From, w.options.To = clientOf(t, other.Endpoint), dial(other.Endpoint), to
	for i := range 10 {
		w.put("k", fmt.Sprint(i))
	}
	end = w.begin()
	w.settled()
	w.stop(end)
}

// While a backlog is written it is reported, and leases are kept alive.
func TestABacklogIsReported(t *testing.T) {
	w := newWorld(t)
	w.put("hot", "before")
	end := w.begin()
	w.settled()
	w.stop(end)
	const backlog = 60
	for i := range backlog { // each a transaction of its own
		w.put("hot", fmt.Sprint(i))
	}
	report, at := w.options.Report, map[int64]bool{}
	w.options.Poll = time.Nanosecond
	w.options.Report = func(p mirror.Progress) {
		report(p)
		at[p.Revision] = true
	}
	end = w.begin()
	w.settled()
	w.stop(end)
	if len(at) < backlog/2 {
		t.Errorf("%d reports of a backlog of %d", len(at), backlog)
	}
}

// Leases that ended in the etcd are asked about side by side, and kept alive while others are still on their way.
func TestManyLeasesAreRestored(t *testing.T) {
	w := newWorld(t)
	const many = 140 // more than are asked about before those that are there are kept alive
	var leases []clientv3.LeaseID
	for i := range many {
		leases = append(leases, w.grant())
		w.put(fmt.Sprint("k", i), "1", clientv3.WithLease(leases[i]))
	}
	end := w.begin()
	w.settled()
	w.stop(end)
	for _, id := range leases {
		if _, err := w.etcd.Revoke(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	var underWay, grants, others atomic.Int64
	beside := make(chan struct{})
	both := sync.OnceFunc(func() { close(beside) })
	w.options.From = through(w.fleet.Endpoints()[0], func(method string, _ any, call func() error) error {
		if method == "LeaseTimeToLive" {
			defer underWay.Add(-1)
			if underWay.Add(1) > 1 {
				both()
			}
			select {
			case <-beside:
			case <-time.After(10 * time.Second):
				t.Error("a lease is asked about alone")
				both()
			}
		}
		return call()
	})
	to := w.etcd.Endpoints()[0]
	w.options.To = func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient(to, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(func(ctx context.Context, method string, q, r any, conn *grpc.ClientConn,
				invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
				if strings.HasSuffix(method, "LeaseGrant") {
					grants.Add(1)
				}
				return invoke(ctx, method, q, r, conn, o...)
			}),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn,
				method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				if n := grants.Load(); n > 0 && n < many {
					others.Add(1)
				}
				return open(ctx, d, conn, method, o...)
			}))
	}
	end = w.begin()
	w.settled()
	w.stop(end)
	if grants.Load() < many || others.Load() == 0 {
		t.Errorf("%d leases granted, %d times kept alive between", grants.Load(), others.Load())
	}
}

// A transaction of its own that arrives late is no other mirror.
func TestALateTransactionIsNoOtherMirror(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	var late func() error // runs on the goroutine of the mirror, as all of this
	lost := false
	w.toEtcd(func(method string, request any, call func() error) error {
		r, is := request.(*pb.TxnRequest)
		if is && !lost && strings.Contains(fmt.Sprint(r), `"lost"`) {
			lost = true
			conn, err := dial(w.etcd.Endpoints()[0])(t.Context())
			if err != nil {
				return err
			}
			late = func() error {
				defer conn.Close()
				_, err := pb.NewKVClient(conn).Txn(t.Context(), r)
				return err
			}
			return errors.New("the connection is lost")
		}
		err := call()
		if read, is := request.(*pb.RangeRequest); is && late != nil && len(read.RangeEnd) == 0 && !read.CountOnly {
			if err := late(); err != nil { // behind the reading of the place, before the claim
				t.Error(err)
			}
			late = nil
		}
		return err
	})
	end := w.begin()
	w.equal()
	w.put("k", "lost")
	w.equal()
	w.put("k", "3")
	w.settled()
	w.stop(end)
	if !w.told("is lost") {
		t.Errorf("trouble: %q", w.trouble)
	}
}

// Who never heard that its claim was taken, and finds another mirror then, was overtaken.
func TestAClaimOfWhichTheAnswerIsLost(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	later := w.options
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	claimed := false
	w.toEtcd(func(method string, _ any, call func() error) error {
		err := call()
		if method == "Txn" && !claimed {
			claimed = true
			go func() { done <- mirror.Run(ctx, later) }()
			w.equal() // the other one has begun
			return errors.New("the connection is lost")
		}
		return err
	})
	if err := mirror.Run(t.Context(), w.options); !errors.Is(err, mirror.ErrOvertaken) {
		t.Error(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// While nothing is written an overtaken mirror ends all the same, and an etcd that is down is told.
func TestAnIdleMirrorFindsOut(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	var down atomic.Bool
	w.toEtcd(func(_ string, _ any, call func() error) error {
		if down.Load() {
			return errors.New("the etcd is down")
		}
		return call()
	})
	first := make(chan error, 1)
	go func() { first <- mirror.Run(t.Context(), w.options) }()
	w.equal()
	down.Store(true)
	w.await("it is told", func() bool { return w.told("the etcd is down") })
	down.Store(false)
	reached := w.put("k", "2")
	w.await("it goes on", func() bool { return w.at().Revision >= reached })
	end := w.begin()
	if err := <-first; !errors.Is(err, mirror.ErrOvertaken) {
		t.Error(err)
	}
	w.stop(end)
}
