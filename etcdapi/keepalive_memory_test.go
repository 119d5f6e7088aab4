package etcdapi_test

import (
	"context"
	"io"
	"runtime"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// silentStream is one on which nothing is asked for.
type silentStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *silentStream) Context() context.Context                    { return s.ctx }
func (s *silentStream) Recv() (*pb.LeaseKeepAliveRequest, error)    { return nil, io.EOF }
func (s *silentStream) Send(*pb.LeaseKeepAliveResponse) (err error) { return nil }

// A stream of keep-alives has no room for answers before something is asked for on it: there may be very many.
func TestAStreamOnWhichNothingIsAskedForIsSmall(t *testing.T) {
	leases := etcdapi.Leases(etcdapitest.Start(t, etcdapi.Limits{}).API)
	const many, most = 2000, 4 << 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range many {
		if err := leases.LeaseKeepAlive(&silentStream{ctx: t.Context()}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / many; each > most {
		t.Errorf("%d bytes each", each)
	}
}
