package grpctransport

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Metadata of every stream. Binary, because names may be in any script.
const (
	fleetKey  = "mimir-fleet-bin"
	nodeKey   = "mimir-node-bin"
	regionKey = "mimir-region-bin"
	errorKey  = "mimir-error" // trailer: kind of the error
	traceKey  = "traceparent" // W3C's
)

// reconnect is how a connection that broke is made again.
var reconnect = grpc.ConnectParams{
	Backoff: backoff.Config{
		BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.3, MaxDelay: 2 * time.Second,
	},
	MinConnectTimeout: 5 * time.Second,
}

// openStream is the one kind of method there is.
var openStream = grpc.StreamDesc{StreamName: "open", ServerStreams: true, ClientStreams: true}

// peer is an address with its connections.
type peer struct {
	connections []atomic.Pointer[grpc.ClientConn]
	next        atomic.Uint64
	leaving     chan struct{} // closed when others took the place of these
}

func (p *peer) pick() *atomic.Pointer[grpc.ClientConn] {
	return &p.connections[p.next.Add(1)%uint64(len(p.connections))]
}

func (p *peer) close() {
	for i := range p.connections {
		if c := p.connections[i].Load(); c != nil {
			_ = c.Close() // only says that it is closed already
		}
	}
}

// peer returns the connections to addr, made on first use.
func (n *node) peer(addr string) (*peer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, transport.ErrClosed
	}
	if p := n.peers[addr]; p != nil {
		return p, nil
	}
	count := 1
	if n.options.Connections != nil {
		count = max(1, n.options.Connections(addr))
	}
	p := &peer{connections: make([]atomic.Pointer[grpc.ClientConn], count), leaving: make(chan struct{})}
	for i := range p.connections {
		c, err := n.connect(addr)
		if err != nil {
			p.close()
			return nil, err
		}
		p.connections[i].Store(c)
	}
	n.peers[addr] = p
	return p, nil
}

// connect returns a connection that is made on first use, and by our dialer: the name is resolved there.
func (n *node) connect(addr string) (*grpc.ClientConn, error) {
	c, err := grpc.NewClient("passthrough:///"+addr, n.dialOptions()...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", transport.ErrUnreachable, addr, err)
	}
	return c, nil
}

// connection returns one of those of a peer. For who asks anew it is no one that failed, and fails until it stands: a
// new one takes its place, which tries at once.
func (n *node) connection(ctx context.Context, addr string, p *peer) (*grpc.ClientConn, error) {
	at := p.pick()
	c := at.Load()
	if !transport.IsAnew(ctx) || c.GetState() != connectivity.TransientFailure {
		return c, nil
	}
	fresh, err := n.replace(at, c, addr, p)
	if fresh != c && err == nil {
		_ = c.Close() // what ends with it could not be used
	}
	return fresh, err
}

// replace puts a new connection in the place of c, and returns it; c, or who took its place, where that is not so bad
// any more, or p is closed soon.
func (n *node) replace(
	at *atomic.Pointer[grpc.ClientConn], c *grpc.ClientConn, addr string, p *peer,
) (*grpc.ClientConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := at.Load(); now != c || n.peers[addr] != p || c.GetState() != connectivity.TransientFailure {
		return now, nil
	}
	fresh, err := n.connect(addr)
	if err == nil {
		at.Store(fresh)
	}
	return fresh, err
}

func (n *node) dialOptions() []grpc.DialOption {
	o := n.options
	dial := o.Dialer
	if dial == nil {
		dial = n.sockets.dial
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(n.dialling),
		grpc.WithContextDialer(dial),
		grpc.WithConnectParams(reconnect),
		grpc.WithStaticStreamWindowSize(o.WindowBytes),
		grpc.WithStaticConnWindowSize(o.WindowBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithKeepaliveParams(
			keepalive.ClientParameters{Time: 10 * time.Second, Timeout: o.DeadAfter, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}),
			grpc.MaxCallRecvMsgSize(transport.MaxMessageBytes), grpc.MaxCallSendMsgSize(transport.MaxMessageBytes)),
		grpc.WithDisableRetry(), // would keep copies of what was sent
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithUserAgent("mimir"),
	}
}

// Open implements Transport. It waits for a connection that is made for the first time, or after one that was lost, and
// fails at once from when that failed until one stands: while it waits to be tried again, and while it is tried; but
// for who asks anew, with whom it tries.
func (n *node) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := n.peer(addr)
	if err != nil {
		return nil, err
	}
	s := &clientStream{node: n, addr: addr, leaving: p.leaving}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	md := metadata.Pairs(fleetKey, n.options.FleetID, nodeKey, n.options.NodeName, regionKey, n.options.Region)
	if trace := transport.Traceparent(ctx); trace != "" {
		md.Set(traceKey, trace)
	}
	c, err := n.connection(ctx, addr, p)
	if err != nil {
		return nil, s.end(err)
	}
	s.grpc, err = c.NewStream(metadata.NewOutgoingContext(s.ctx, md), &openStream, methodPrefix+service)
	if err != nil {
		return nil, s.end(err)
	}
	return s, nil
}
