package server

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/mimir-kv/mimir/server/operator"
)

// Limits of the client port's gRPC server. Keep-alive figures are etcd's where nothing else is said.
const (
	windowBytes             = 1 << 20
	defaultKeepaliveMinTime = 5 * time.Second
	defaultKeepaliveTimeout = 20 * time.Second
	// defaultKeepaliveInterval is less than etcd's two hours: a client that is gone without a word holds a connection.
	defaultKeepaliveInterval = 2 * time.Minute
	// headerBytes bounds the headers of a request.
	headerBytes = 64 << 10
	// streamWorkers keep their grown stacks from one request to the next; more requests than that get goroutines of
	// their own.
	streamWorkers = 256
)

// Keepalive is how clients over gRPC and the node find out that the other is gone.
type Keepalive struct {
	// MinTime has to pass between two questions of a client that has a request under way.
	MinTime time.Duration
	// Interval is for how long a client may say nothing before it is asked, and Timeout how long it has to answer.
	Interval, Timeout time.Duration
}

func (k Keepalive) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: k.MinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: k.Interval, Timeout: k.Timeout}),
	}
}

// newRPCServer makes the gRPC server of the client port with the API's own options. TLS is the listener's business;
// what certificates were shown comes with the connection, and so does a buffer for what is read. When all is registered
// the methods are to be told.
func newRPCServer(k Keepalive, api ...grpc.ServerOption) (*grpc.Server, *methods) {
	m := &methods{}
	return grpc.NewServer(append(append(append(m.options(), k.options()...), api...),
		grpc.ReadBufferSize(0),
		grpc.Creds(operator.Credentials()),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(4*windowBytes),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(sniffTimeout),
		grpc.MaxHeaderListSize(headerBytes),
	)...), m
}

// newRPC makes one with everything that is served, by the limits of now.
func newRPC(s *server) *grpc.Server {
	made, methods := newRPCServer(s.config.Keepalive, s.api.ServerOptions()...)
	s.api.Register(made)
	s.partial.Register(made)
	methods.know(made)
	s.calls.Know(made.GetServiceInfo())
	return made
}
