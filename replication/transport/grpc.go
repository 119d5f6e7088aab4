package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Defaults of GRPCOptions.
const (
	DefaultDeadAfter         = 6 * time.Second
	DefaultWindowBytes       = 16 << 20
	DefaultCongestionControl = "bbr"
)

// MinDeadAfter is the least GRPCOptions.DeadAfter.
const MinDeadAfter = 3 * time.Second

// SystemCongestionControl as CongestionControl leaves the sockets as the system makes them.
const SystemCongestionControl = "system"

const (
	// methodPrefix comes before the name of the service in gRPC's method.
	methodPrefix  = "/mimir/"
	bufferBytes   = 128 << 10
	handshakeTime = 10 * time.Second
)

// GRPCOptions configure NewGRPC.
type GRPCOptions struct {
	// Listener is bound already; the transport owns it from NewGRPC on. May be nil in a process that only opens streams.
	Listener net.Listener
	// ServerTLS and ClientTLS are for accepted and for dialled connections; nil means plaintext. If ClientTLS.ServerName is
	// empty, the host of the dialled address is checked against the peer's certificate.
	ServerTLS, ClientTLS *tls.Config

	// FleetID, NodeName and Region are told to every peer. A peer of another fleet refuses with ErrFleet.
	FleetID, NodeName, Region string

	// Connections tells how many parallel TCP connections to keep to an address; streams take turns. Nil means one. More of them
	// help where a single one cannot fill a long link.
	Connections func(addr string) int
	// Dialer makes connections. Nil means TCP.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
	// CongestionControl is set on every dialled and accepted TCP socket, where the system has such a choice. Default "bbr", which a lossy long
	// link needs; where that is missing there is one warning, and the system's own is used.
	CongestionControl string
	// DeadAfter is about how long a peer may be silent, on a connection that is not busy or has unacknowledged data, before
	// its streams end. At least MinDeadAfter; default DefaultDeadAfter. A peer whose process hangs while its machine answers is noticed by the accepting
	// side in half as much again, and by the dialling side within 10 s more.
	DeadAfter time.Duration
	// WindowBytes is the receive window of each stream, and of each connection. At least 64 KiB; default DefaultWindowBytes.
	WindowBytes int32
	// Logger receives the warnings. Default slog.Default().
	Logger *slog.Logger
}

// grpcTransport is the Transport of real processes.
type grpcTransport struct {
	options  GRPCOptions
	sockets  *sockets
	server   *grpc.Server
	services map[string]Handler // set once, before the server runs
	serving  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	started bool
	peers   map[string]*peer
}

// NewGRPC returns a Transport over gRPC. Nothing is accepted before Serve.
func NewGRPC(o GRPCOptions) (Transport, error) {
	if o.CongestionControl == "" {
		o.CongestionControl = DefaultCongestionControl
	}
	if o.DeadAfter == 0 {
		o.DeadAfter = DefaultDeadAfter
	}
	if o.WindowBytes == 0 {
		o.WindowBytes = DefaultWindowBytes
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case o.FleetID == "":
		return nil, errors.New("transport: FleetID is empty")
	case o.DeadAfter < MinDeadAfter:
		return nil, fmt.Errorf("transport: DeadAfter is %v, must be at least %v", o.DeadAfter, MinDeadAfter)
	case o.WindowBytes < 64<<10:
		return nil, fmt.Errorf("transport: WindowBytes is %d, must be at least 65536", o.WindowBytes)
	}
	t := &grpcTransport{options: o, peers: make(map[string]*peer)}
	t.sockets = &sockets{congestion: o.CongestionControl, deadAfter: o.DeadAfter, logger: o.Logger}
	t.server = grpc.NewServer(t.serverOptions()...)
	return t, nil
}

func (t *grpcTransport) serverOptions() []grpc.ServerOption {
	o := t.options
	security := insecure.NewCredentials()
	if o.ServerTLS != nil {
		security = credentials.NewTLS(o.ServerTLS)
	}
	return []grpc.ServerOption{
		grpc.Creds(security),
		grpc.UnknownServiceHandler(t.handle),
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.StaticStreamWindowSize(o.WindowBytes),
		grpc.StaticConnWindowSize(o.WindowBytes),
		grpc.ReadBufferSize(bufferBytes),
		grpc.WriteBufferSize(bufferBytes),
		grpc.ConnectionTimeout(handshakeTime),
		// The pings wait behind data in the socket: on a slow link a shorter timeout would end a busy connection.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: o.DeadAfter / 2, Timeout: o.DeadAfter}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	}
}

// Serve implements Transport.
func (t *grpcTransport) Serve(services map[string]Handler) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case t.started:
		return errors.New("transport: Serve called twice")
	case t.options.Listener == nil:
		return errors.New("transport: Serve without a listener")
	}
	t.started = true
	t.services = make(map[string]Handler, len(services))
	for name, h := range services {
		t.services[name] = h
	}
	l := tunedListener{t.options.Listener, t.sockets}
	t.serving.Go(func() {
		if err := t.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.options.Logger.Error("transport no longer accepts connections", "address", l.Addr().String(), "error", err)
		}
	})
	return nil
}

// Close implements Transport.
func (t *grpcTransport) Close() error {
	t.mu.Lock()
	peers := t.peers
	t.closed, t.peers = true, nil
	t.mu.Unlock()
	for _, p := range peers {
		p.close()
	}
	t.server.Stop()
	if l := t.options.Listener; l != nil {
		_ = l.Close() // the server has closed it already if it ran
	}
	t.serving.Wait()
	return nil
}

func (t *grpcTransport) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}
