package etcdapi

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// requiresLeader reports whether the client asked that this node has a leader (clientv3.WithRequireLeader).
func requiresLeader(ctx context.Context) bool {
	values := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataRequireLeaderKey)
	return len(values) > 0 && values[0] == rpctypes.MetadataHasLeader
}

func (a *API) hasLeader() bool { return a.recentHealth().LeaderRaftID != 0 }

func (a *API) unaryInterceptor(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	tellRights(ctx, a.store)
	if requiresLeader(ctx) && !a.hasLeader() {
		return nil, rpctypes.ErrGRPCNoLeader
	}
	if err := sendPlain(ctx); err != nil {
		return nil, err
	}
	response, err := handle(ctx, req)
	if err != nil {
		return nil, err
	}
	return a.reply(ctx, req, response)
}

// signs are the streams by which clients and nodes tell each other that they are there: no event that somebody leaves
// unread holds them up.
var signs = map[string]bool{
	pb.Lease_LeaseKeepAlive_FullMethodName: true, healthpb.Health_Watch_FullMethodName: true,
}

// streamInterceptor counts what is sent, and ends streams that require a leader when this node has been without one for
// LeaderTimeout, or its region without the primary for five of that: the client then goes to another node.
func (a *API) streamInterceptor(
	srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler,
) error {
	if err := sendPlain(ss.Context()); err != nil {
		return err
	}
	messages := a.messages
	if signs[info.FullMethod] {
		messages = a.signs
	}
	ss = &sentStream{ServerStream: ss, messages: messages, to: a.senderOf(ss.Context())}
	if !requiresLeader(ss.Context()) {
		return handle(srv, ss)
	}
	if !a.hasLeader() || abandoned(a.recentHealth(), a.limits.now().LeaderTimeout) {
		return rpctypes.ErrGRPCNoLeader
	}
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	go func() { cancel(a.untilLeaderless(ctx)) }()
	err := handle(srv, &boundedStream{ServerStream: ss, ctx: ctx})
	if errors.Is(context.Cause(ctx), rpctypes.ErrGRPCNoLeader) {
		return rpctypes.ErrGRPCNoLeader
	}
	return err
}

// untilLeaderless returns ErrGRPCNoLeader after LeaderTimeout without a leader, or when the primary has been silent for
// too long, or nil when ctx ends.
func (a *API) untilLeaderless(ctx context.Context) error {
	bound := a.limits.now()
	ticker := a.clock.NewTicker(bound.LeaderTimeout / looks)
	defer func() { ticker.Stop() }()
	var since time.Time
	for {
		select {
		case <-bound.replaced:
			ticker.Stop()
			bound = a.limits.now()
			ticker = a.clock.NewTicker(bound.LeaderTimeout / looks)
		case <-ctx.Done():
			return nil
		case now := <-ticker.C():
			switch {
			case a.hasLeader():
				since = time.Time{}
				if abandoned(a.recentHealth(), bound.LeaderTimeout) {
					return rpctypes.ErrGRPCNoLeader
				}
			case since.IsZero():
				since = now
			case now.Sub(since) >= bound.LeaderTimeout*(looks-1)/looks:
				return rpctypes.ErrGRPCNoLeader
			}
		}
	}
}

// boundedStream is a stream with a context of its own.
type boundedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *boundedStream) Context() context.Context { return s.ctx }
