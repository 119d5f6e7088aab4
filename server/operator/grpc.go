package operator

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Unary is the interceptor of a gRPC server.
func (g *Gate) Unary(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (answer any, err error) {
	call, _ := Of(info.FullMethod)
	if call.Right != Operator {
		return handle(ctx, request)
	}
	if call.harmless != nil && call.harmless(request) {
		return handle(g.ruled(ctx), request)
	}
	o, err := g.begin(ctx, info.FullMethod, &call, callerOf(ctx), fieldsOf(request, call.Args))
	if err != nil {
		return nil, statusOf(err)
	}
	ended := errCut
	defer func() { o.end(ended) }()
	answer, ended = handle(o.allow(ctx), request)
	return answer, ended
}

// Stream is the interceptor of a gRPC server.
func (g *Gate) Stream(service any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	call, _ := Of(info.FullMethod)
	if call.Right != Operator {
		return handle(service, s)
	}
	o, err := g.begin(s.Context(), info.FullMethod, &call, callerOf(s.Context()), nil)
	if err != nil {
		return statusOf(err)
	}
	ended := errCut
	defer func() { o.end(ended) }()
	ended = handle(service, &allowed{s, o.allow(s.Context())})
	return ended
}

// allowed is a stream of an operator.
type allowed struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *allowed) Context() context.Context { return s.ctx }

// ruled returns the context of a call that does not need the operator's right, which who has it may make too.
func (g *Gate) ruled(ctx context.Context) context.Context {
	for _, l := range g.links {
		if !isRule(l) || !l.Used() {
			continue
		}
		if _, err := l.Operator(ctx, callerOf(ctx)); err == nil {
			return (&identity{ruled: true}).allow(ctx)
		}
	}
	return ctx
}

// statusOf returns what a client is told. Where users and roles are enabled that is what etcd says, by which its
// clients know that they have to log in again.
func statusOf(err error) error {
	var own interface{ GRPCStatus() *status.Status }
	if errors.As(err, &own) {
		return own.GRPCStatus().Err()
	}
	code := codes.PermissionDenied
	switch {
	case errors.Is(err, ErrAudit):
		code = codes.Unavailable
	case errors.Is(err, ErrMany):
		code = codes.ResourceExhausted
	}
	return status.Error(code, "mimir: "+err.Error())
}
