package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/operator"
)

// Limits of the client port's gRPC server. Keep-alive figures are etcd's where nothing else is said.
const (
	windowBytes      = 1 << 20
	keepaliveMinTime = 5 * time.Second
	keepaliveTimeout = 20 * time.Second
	// keepaliveInterval is less than etcd's two hours: a client that is gone without a word holds a connection.
	keepaliveInterval = 2 * time.Minute
	// headerBytes bounds the headers of a request.
	headerBytes = 64 << 10
	// streamWorkers keep their grown stacks from one request to the next; more requests than that get goroutines of
	// their own.
	streamWorkers = 256
)

// newRPCServer makes the gRPC server of the client port with the API's own options. TLS is the listener's business;
// what certificates were shown comes with the connection.
func newRPCServer(api ...grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(api,
		grpc.Creds(operator.Credentials()),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(4*windowBytes),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(sniffTimeout),
		grpc.MaxHeaderListSize(headerBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.ChainUnaryInterceptor(asking),
		grpc.ChainStreamInterceptor(streaming),
	)...)
}

// asking tells the door of the connection that a request is under way on it.
func asking(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (answer any, err error) {
	defer requestOf(ctx)()
	return handle(ctx, request)
}

// streaming is asking of a stream.
func streaming(service any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	defer requestOf(s.Context())()
	return handle(service, s)
}

func requestOf(ctx context.Context) (end func()) {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		return door.Request(p.Addr)
	}
	return func() {}
}

// newRPC makes one with everything that is served, by the limits of now.
func newRPC(s *server) *grpc.Server {
	made := newRPCServer(s.api.ServerOptions()...)
	s.api.Register(made)
	s.calls.Know(made.GetServiceInfo())
	return made
}
