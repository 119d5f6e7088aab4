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
func (a *API) carry(ctx context.Context) context.Context {
	if from, ok := grpcpeer.FromContext(ctx); !ok || from.Addr == nil || from.Addr.Network() != gatewayNetwork {
		return ctx
	}
	if one := a.senderOf(ctx).gateway; one != nil {
		return carried{ctx, one.of}
	}
	return ctx
}

func (a *API) carryUnary(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	return handle(a.carry(ctx), req)
}

func (a *API) carryStream(
	srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
) error {
	return handle(srv, &boundedStream{ServerStream: ss, ctx: a.carry(ss.Context())})
}
