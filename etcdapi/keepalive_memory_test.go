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

// onceStream is one on which a lease is kept alive once.
type onceStream struct {
	silentStream
	asked bool
}

func (s *onceStream) Recv() (*pb.LeaseKeepAliveRequest, error) {
	if s.asked {
		return nil, io.EOF
	}
	s.asked = true
	return &pb.LeaseKeepAliveRequest{ID: 7}, nil
}

// A stream of keep-alives has no more room for answers than what is asked for on it takes: there may be very many.
func TestAStreamOnWhichLittleIsAskedForIsSmall(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	_, err := pb.NewLeaseClient(n.Conn).LeaseGrant(bounded(t), &pb.LeaseGrantRequest{ID: 7, TTL: 3600})
	if err != nil {
		t.Fatal(err)
	}
	leases := etcdapi.Leases(n.API)
	silent := silentStream{ctx: t.Context()}
	for what, c := range map[string]struct {
		many, most uint64
		stream     func() pb.Lease_LeaseKeepAliveServer
	}{
		"nothing": {2000, 4 << 10, func() pb.Lease_LeaseKeepAliveServer {
			return &silent
		}},
		"one": {200, 24 << 10, func() pb.Lease_LeaseKeepAliveServer {
			return &onceStream{silentStream: silent}
		}},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range c.many {
			if err := leases.LeaseKeepAlive(c.stream()); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / c.many; each > c.most {
			t.Errorf("%s: %d bytes each", what, each)
		}
	}
}
