package etcdapi_test

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
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
