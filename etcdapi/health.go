package etcdapi

import (
	"context"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

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

// Check answers for the node as a whole, whatever service is asked about.
func (s *healthServer) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if s.recentHealth().Healthy {
		status = healthpb.HealthCheckResponse_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: status}, nil
}
