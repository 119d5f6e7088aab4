package etcdapi

import (
	"context"

	"google.golang.org/grpc"
	grpcpeer "google.golang.org/grpc/peer"
)

// carried is the context of a request of the gateway, which also has what that of the HTTP request has.
type carried struct {
	context.Context
	of context.Context
}

// Value implements context.Context.
func (c carried) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.of.Value(key)
}

// carry returns the context for a request whose own is ctx.
func (g *gatewayRequests) carry(ctx context.Context) context.Context {
	from, ok := grpcpeer.FromContext(ctx)
	if !ok || from.Addr == nil {
		return ctx
	}
	if one := g.of(ctx, from); one != nil {
		return carried{ctx, one.context}
	}
	return ctx
}

func (g *gatewayRequests) carryUnary(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	return handle(g.carry(ctx), req)
}

func (g *gatewayRequests) carryStream(
	srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
) error {
	return handle(srv, &boundedStream{ServerStream: ss, ctx: g.carry(ss.Context())})
}
