package etcdapi_test

import (
	"context"
	"runtime"
	"testing"
	"weak"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

func TestHealthService(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	health := healthpb.NewHealthClient(n.Dial(t))
	r, err := health.Check(bounded(t), &healthpb.HealthCheckRequest{})
	if err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", r, err)
	}
	watch, err := health.Watch(bounded(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		if r, err := watch.Recv(); err != nil || r.Status != want {
			t.Errorf("watch: %v, %v; want %v", r, err, want)
		}
		n.Replicator.SetLeader(false)
	}
	n.Replicator.SetLeader(true)
	_, err = health.Check(bounded(t), &healthpb.HealthCheckRequest{Service: "x"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
}

// healthStream is one that hands on what is sent.
type healthStream struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan healthpb.HealthCheckResponse_ServingStatus
}

func (s *healthStream) Context() context.Context { return s.ctx }

func (s *healthStream) Send(r *healthpb.HealthCheckResponse) error {
	s.sent <- r.Status
	return nil
}

// A watch of the health does not keep what it was asked for.
func TestAWatchOfTheHealthForgetsWhatItWasAsked(t *testing.T) {
	health := etcdapi.Health(etcdapitest.Start(t, etcdapi.Limits{}).API)
	ctx, leave := context.WithCancel(bounded(t))
	defer leave()
	s := &healthStream{ctx: ctx, sent: make(chan healthpb.HealthCheckResponse_ServingStatus, 1)}
	ended := make(chan error, 1)
	watches := func(r *healthpb.HealthCheckRequest) { ended <- health.Watch(r, s) }
	begin := func() weak.Pointer[healthpb.HealthCheckRequest] {
		r := &healthpb.HealthCheckRequest{Service: "x"}
		go watches(r)
		return weak.Make(r)
	}
	asked := begin()
	if now := <-s.sent; now != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("an unknown service is %v", now)
	}
	await(t, "what was asked for is forgotten", func() bool {
		runtime.GC()
		return asked.Value() == nil
	})
	leave()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}

// There is no downgrade; what could be none of etcd's either is refused as by etcd.
func TestDowngrade(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	for version, want := range map[string]codes.Code{"3.6": codes.FailedPrecondition, "3.5": codes.InvalidArgument} {
		r := &pb.DowngradeRequest{Version: version}
		if _, err := pb.NewMaintenanceClient(n.Dial(t)).Downgrade(bounded(t), r); status.Code(err) != want {
			t.Errorf("downgrade to %s: %v", version, err)
		}
	}
}

// With TLS between nodes their addresses say so.
func TestMembersWithTLS(t *testing.T) {
	n := etcdapitest.StartWith(t, etcdapi.Options{PeerTLS: true})
	listed, err := client(t, n).MemberList(bounded(t))
	if err != nil || listed.Members[0].PeerURLs[0] != "https://127.0.0.1:2380" {
		t.Errorf("%v, %v", listed, err)
	}
}
