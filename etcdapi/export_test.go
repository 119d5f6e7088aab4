package etcdapi

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Leases returns the Lease service as it is registered.
func Leases(a *API) pb.LeaseServer { return &leaseServer{API: a} }

// Health returns the service of the health as it is registered.
func Health(a *API) healthpb.HealthServer { return &healthServer{API: a} }

// SetOrderPatience has orders wait for no longer than this for what the primary has, and then for what it says.
// EncodeRoot is what the primary is asked.
var EncodeRoot = encodeRoot

func SetOrderPatience(a *API, d time.Duration) { a.orderPatience = d }

// LeaveUnread has so many bytes of streams lie unread for good by who makes a request.
func LeaveUnread(ctx context.Context, a *API, bytes int64) {
	a.messages.count(a.senderOf(ctx).connection, bytes)
}
