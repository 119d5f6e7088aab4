package mirror_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/backup/mirror"
)

// brief grants a lease that is to be kept alive twice in four seconds, and is for as long as the test runs.
func (w *world) brief() clientv3.LeaseID {
	w.t.Helper()
	r, err := w.fleet.Grant(w.t.Context(), 5)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.fleet.KeepAlive(w.t.Context(), r.ID); err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

// putMany puts what takes two pages, and no more.
func (w *world) putMany(o ...clientv3.OpOption) {
	w.t.Helper()
	var ops []clientv3.Op
	for i := range 70 {
		ops = append(ops, clientv3.OpPut(fmt.Sprint("k", i), "1", o...))
	}
	if _, err := w.fleet.Txn(w.t.Context()).Then(ops...).Commit(); err != nil {
		w.t.Fatal(err)
	}
}

// isPage reports whether a request is for a page of a comparison, of the fleet.
func isPage(request any) bool {
	r, is := request.(*pb.RangeRequest)
	return is && r.Limit > 1 && r.Revision > 0
}

// A lease that ends in the etcd while both are compared, at each page of that, is granted anew, and what is under it
// comes at the end: nothing is compared anew.
func TestALeaseThatEndsDoesNotEndAComparison(t *testing.T) {
	w := newWorld(t)
	lease := w.grant()
	w.options.MostOps = mirror.LeastOps // what is on the first page is there when the second one is asked for
	w.putMany(clientv3.WithLease(lease))
	pages := 0
	w.options.From = through(w.fleet.Endpoints()[0], func(_ string, request any, call func() error) error {
		if isPage(request) {
			pages++
			w.endThere()
		}
		return call()
	})
	end := w.begin()
	w.equal()
	w.await("it is said", func() bool { return w.at().Whole() })
	w.stop(end)
	if pages != 2 || len(w.trouble) > 0 {
		t.Errorf("%d pages; trouble: %q", pages, w.trouble)
	}
}

// streams dials an endpoint, and counts the streams on which leases are kept alive.
func streams(endpoint string, dialed, n *atomic.Int64) func(context.Context) (*grpc.ClientConn, error) {
	return func(context.Context) (*grpc.ClientConn, error) {
		dialed.Add(1)
		return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn,
				method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				if strings.HasSuffix(method, "LeaseKeepAlive") {
					n.Add(1)
				}
				return open(ctx, d, conn, method, o...)
			}))
	}
}

// However long the fleet takes for a page leases are kept alive meanwhile.
func TestLeasesAreKeptAliveWhileAPageIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.put("a", "1", clientv3.WithLease(w.brief()))
	w.putMany()
	var dialed, kept atomic.Int64
	w.options.To = streams(w.etcd.Endpoints()[0], &dialed, &kept)
	pages := 0
	w.options.From = through(w.fleet.Endpoints()[0], func(_ string, request any, call func() error) error {
		if !isPage(request) {
			return call()
		}
		if pages++; pages == 2 {
			before, deadline := kept.Load(), time.Now().Add(20*time.Second)
			for kept.Load() < before+2 && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond)
			}
			if kept.Load() < before+2 {
				t.Error("no lease is kept alive")
			}
		}
		return call()
	})
	end := w.begin()
	w.settled()
	w.stop(end)
}

// A lease that ends in the etcd while what is written is followed comes back with its keys, and nothing but that is
// asked anew.
func TestALeaseThatEndsComesBackAlone(t *testing.T) {
	w := newWorld(t)
	w.put("brief", "1", clientv3.WithLease(w.brief()))
	long := w.grant()
	w.put("long", "1", clientv3.WithLease(long))
	var dialed, kept atomic.Int64
	w.options.To = streams(w.etcd.Endpoints()[0], &dialed, &kept)
	end := w.begin()
	w.equal()
	w.endThere()
	w.put("long", "2", clientv3.WithLease(long)) // of which the etcd says that its lease is gone
	w.equal()
	w.await("it is said", func() bool { return w.at().Whole() })
	w.stop(end)
	if dialed.Load() != 1 || !w.told("have ended in the etcd") {
		t.Errorf("%d sessions; trouble: %q", dialed.Load(), w.trouble)
	}
}
