package server

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

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
// what certificates were shown comes with the connection, and so does a buffer for what is read. When all is registered
// the methods are to be told.
func newRPCServer(api ...grpc.ServerOption) (*grpc.Server, *methods) {
	m := &methods{}
	return grpc.NewServer(append(append(m.options(), api...),
		grpc.ReadBufferSize(0),
		grpc.Creds(operator.Credentials()),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(4*windowBytes),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(sniffTimeout),
		grpc.MaxHeaderListSize(headerBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
	)...), m
}

// newRPC makes one with everything that is served, by the limits of now.
func newRPC(s *server) *grpc.Server {
	made, methods := newRPCServer(s.api.ServerOptions()...)
	s.api.Register(made)
	methods.know(made)
	s.calls.Know(made.GetServiceInfo())
	return made
}
