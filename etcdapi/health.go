package etcdapi

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication"
)

// healthPicture is a HealthStatus and when it was taken.
type healthPicture struct {
	*replication.HealthStatus
	taken time.Time
}

// recentHealth returns a picture that is at most healthAge old: taking one for every response header would cost more
// than many of the requests. One without a leader is not kept: who has just served a write has one.
func (a *API) recentHealth() *replication.HealthStatus {
	now := a.clock.Now()
	if p := a.health.Load(); p != nil && p.LeaderRaftID != 0 && now.Sub(p.taken) < healthAge {
		return p.HealthStatus
	}
	h := a.replicator.Health()
	a.health.Store(&healthPicture{HealthStatus: h, taken: now})
	return h
}

// healthServer is the health service that gRPC load balancers ask.
type healthServer struct {
	healthpb.UnimplementedHealthServer
	*API
}

// healthEvery is how often a watch of the health looks.
const healthEvery = time.Second

// Check answers for the node as a whole, which is the one service that etcd knows by name: the empty one.
func (s *healthServer) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if r.Service != "" {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: s.serving()}, nil
}

// List answers for the node as a whole.
func (s *healthServer) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	return &healthpb.HealthListResponse{
		Statuses: map[string]*healthpb.HealthCheckResponse{"": {Status: s.serving()}},
	}, nil
}

// Watch tells how it is, and whenever that changes. What it was asked for it does not keep: there may be very many.
func (s *healthServer) Watch(
	r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse],
) error {
	ticker := s.clock.NewTicker(healthEvery)
	defer ticker.Stop()
	known := r.Service == ""
	told := healthpb.HealthCheckResponse_UNKNOWN
	for {
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if known {
			now = s.serving()
		}
		if now != told {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			told = now
		}
		select {
		case <-ticker.C():
		case <-stream.Context().Done():
			return status.Error(codes.Canceled, "Stream has ended.")
		}
	}
}

func (s *healthServer) serving() healthpb.HealthCheckResponse_ServingStatus {
	if s.recentHealth().Healthy {
		return healthpb.HealthCheckResponse_SERVING
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}
