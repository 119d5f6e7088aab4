package mirror_test

import (
	"context"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/backup/sides"
)

// sent dials an endpoint, and notes which leases are asked to be kept alive.
func sent(endpoint string, ids *sync.Map) sides.Dial {
	return func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn,
				method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				s, err := open(ctx, d, conn, method, o...)
				return &sending{s, ids}, err
			}))
	}
}

// sending is a stream that notes leases which are asked to be kept alive.
type sending struct {
	grpc.ClientStream
	ids *sync.Map
}

func (s *sending) SendMsg(m any) error {
	if r, is := m.(*pb.LeaseKeepAliveRequest); is {
		s.ids.Store(clientv3.LeaseID(r.ID), true)
	}
	return s.ClientStream.SendMsg(m)
}

// A mirror within one cluster that is started again keeps its own leases alive, and none of a user, which it would find
// by its own one.
func TestAMirrorWithinAClusterKeepsNoLeaseOfAUser(t *testing.T) {
	w := newWorld(t)
	w.options.To, w.etcd = w.options.From, w.fleet
	w.options.Prefix, w.options.ToPrefix = "a/", "b/"
	theirs := w.grant()
	w.put("a/lock", "1", clientv3.WithLease(theirs))
	end := w.begin()
	w.there("b/lock")
	w.await("it is compared", func() bool { p := w.at(); return !p.Comparing && p.Revision > 0 })
	w.stop(end)
	var ids sync.Map
	w.options.To = sent(w.etcd.Endpoints()[0], &ids)
	w.put("a/k", "1")
	end = w.begin()
	w.there("b/k")
	w.stop(end)
	if _, is := ids.Load(theirs); is {
		t.Error("the user's lease was kept alive")
	}
	r, err := w.etcd.Get(t.Context(), "b/lock")
	if err != nil || len(r.Kvs) != 1 {
		t.Fatal(r, err)
	}
	if _, is := ids.Load(clientv3.LeaseID(r.Kvs[0].Lease)); !is {
		t.Error("the lease of the mirror was not kept alive")
	}
}
