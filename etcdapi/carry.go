package etcdapi

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
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

// errLeft says that the client of a request of the gateway has left before anything was done: who he was is known no
// more, and the request is nobody's else.
var errLeft = status.Error(codes.Canceled, "mimir: the client has left")

// carry returns the context for a request whose own is ctx, or errLeft.
func (g *gatewayRequests) carry(ctx context.Context) (context.Context, error) {
	from, ok := grpcpeer.FromContext(ctx)
	if !ok || from.Addr == nil {
		return ctx, nil
	}
	one, named := g.of(ctx, from)
	switch {
	case one != nil:
		return carried{ctx, one.context}, nil
	case named:
		return nil, errLeft
	}
	return ctx, nil
}

func (g *gatewayRequests) carryUnary(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	ctx, err := g.carry(ctx)
	if err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func (g *gatewayRequests) carryStream(
	srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
) error {
	ctx, err := g.carry(ss.Context())
	if err != nil {
		return err
	}
	return handle(srv, &boundedStream{ServerStream: ss, ctx: ctx})
}
