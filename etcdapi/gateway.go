package etcdapi

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	electiongw "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb/gw"
	lockgw "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb/gw"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	// gatewayBufferBytes is the size of the connection's buffer.
	gatewayBufferBytes = 256 << 10
	// gatewayNetwork is the network of its addresses.
	gatewayNetwork = "bufconn"
	// gatewayStreamBytes is how much of one stream lies there unread, and gatewayWindowBytes of all together.
	gatewayStreamBytes, gatewayWindowBytes = 64 << 10, 16 << 20
	// gatewayCopies is how often an answer is held on its way through the gateway: encoded, decoded, and as JSON.
	gatewayCopies = 3
	// gatewayKey is the metadata by which the gateway says which request it is: all share its connection.
	gatewayKey = "mimir-gateway-request"
)

// gateway answers JSON by a gRPC connection in memory, until ctx ends.
func (a *API) gateway(ctx context.Context) (http.Handler, error) {
	listener := bufconn.Listen(gatewayBufferBytes)
	// All requests share one connection here: what bounds them is the number of connections over HTTP, and how much
	// JSON is read.
	server := grpc.NewServer(append(a.ServerOptions(), grpc.MaxConcurrentStreams(math.MaxUint32),
		grpc.MaxRecvMsgSize(math.MaxInt32))...)
	a.Register(server)
	connection, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return listener.DialContext(ctx)
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(gatewayStreamBytes), grpc.WithStaticConnWindowSize(gatewayWindowBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<31-1)))
	if err != nil {
		return nil, fmt.Errorf("etcdapi: JSON gateway: %w", err)
	}
	bounded := runtime.WithMarshalerOption(runtime.MIMEWildcard, boundedMarshaler{
		Marshaler: &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
		}},
		bytes: a.jsonBytes,
	})
	mux := runtime.NewServeMux(runtime.WithMetadata(nameRequest), runtime.WithForwardResponseOption(writing), bounded,
		runtime.WithDisablePathLengthFallback()) // which reads a body as a form, by a bound of its own
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		gw.RegisterKVHandler, gw.RegisterWatchHandler, gw.RegisterLeaseHandler,
		gw.RegisterClusterHandler, gw.RegisterMaintenanceHandler, gw.RegisterAuthHandler,
		lockgw.RegisterLockHandler, electiongw.RegisterElectionHandler,
	} {
		if err := register(ctx, mux, connection); err != nil {
			return nil, fmt.Errorf("etcdapi: JSON gateway: %w", err)
		}
	}
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	context.AfterFunc(ctx, func() {
		connection.Close()
		server.Stop()
	})
	return a.gatewayRequests.follow(mux), nil
}

// gatewayRequests are those under way, by name. They are safe for concurrent use.
type gatewayRequests struct {
	last  atomic.Uint64
	under sync.Map // name to *gatewayRequest
}

// gatewayRequest is one request of the gateway. What is large of its answers is counted until it is written to the
// client: the gateway has it as soon as it is sent.
type gatewayRequest struct {
	name       string
	connection string          // of the client
	context    context.Context // of the HTTP request

	mu   sync.Mutex
	held []heldAnswer // messages on their way, the first of which is the one that is being written
	over bool
	some bool // one is being written
}

type heldAnswer struct {
	of    *answers
	bytes int64
}

type gatewayRequestKey struct{}

// follow has the requests of h known by name while they are under way.
func (g *gatewayRequests) follow(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strconv.FormatUint(g.last.Add(1), 10)
		one := &gatewayRequest{name: name, connection: r.RemoteAddr, context: r.Context()}
		g.under.Store(one.name, one)
		defer func() {
			g.under.Delete(one.name)
			one.end()
		}()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), gatewayRequestKey{}, one)))
	})
}

// nameRequest tells the server which request this is. It comes behind what the client's headers say.
func nameRequest(ctx context.Context, _ *http.Request) metadata.MD {
	one, ok := ctx.Value(gatewayRequestKey{}).(*gatewayRequest)
	if !ok {
		return nil
	}
	return metadata.Pairs(gatewayKey, one.name)
}

// writing is called before a message is written to the client, and before the first one, of a stream, with none.
func writing(ctx context.Context, _ http.ResponseWriter, m proto.Message) error {
	if one, ok := ctx.Value(gatewayRequestKey{}).(*gatewayRequest); ok && m != nil {
		one.next()
	}
	return nil
}

// hold takes over what was counted for a message that is about to be sent.
func (g *gatewayRequest) hold(of *answers, bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		of.free(g.connection, bytes)
		return
	}
	g.held = append(g.held, heldAnswer{of, bytes})
}

// next says that the message before is written.
func (g *gatewayRequest) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.some && len(g.held) > 0 {
		g.held[0].of.free(g.connection, g.held[0].bytes)
		g.held = g.held[1:]
	}
	g.some = true
}

func (g *gatewayRequest) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.held {
		h.of.free(g.connection, h.bytes)
	}
	g.held, g.over = nil, true
}

// sender is who asked: a connection, and the request of the gateway if it came through that.
type sender struct {
	connection string
	gateway    *gatewayRequest // may be nil
}

// copies is how often what is sent is held.
func (s sender) copies() int64 {
	if s.gateway != nil {
		return gatewayCopies
	}
	return 1
}

// senderOf says who made a request.
func (a *API) senderOf(ctx context.Context) sender {
	from, ok := grpcpeer.FromContext(ctx)
	if !ok || from.Addr == nil {
		return sender{connection: "unknown"}
	}
	if one, _ := a.gatewayRequests.of(ctx, from); one != nil {
		return sender{one.connection, one}
	}
	return sender{connection: from.Addr.String()}
}

// of returns the request of the gateway that one over gRPC is, nil if it came from elsewhere, or its client has left;
// named says that it is one.
func (g *gatewayRequests) of(ctx context.Context, from *grpcpeer.Peer) (one *gatewayRequest, named bool) {
	if from.Addr.Network() != gatewayNetwork {
		return nil, false
	}
	names := metadata.ValueFromIncomingContext(ctx, gatewayKey)
	if len(names) == 0 {
		return nil, false
	}
	found, ok := g.under.Load(names[len(names)-1]) // the gateway's own: a client may have sent some too
	if !ok {
		return nil, true
	}
	return found.(*gatewayRequest), true
}
