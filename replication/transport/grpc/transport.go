package grpctransport

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Defaults of Options.
const (
	DefaultDeadAfter         = 6 * time.Second
	DefaultWindowBytes       = 16 << 20
	DefaultCongestionControl = "bbr"
)

// MinDeadAfter is the least Options.DeadAfter.
const MinDeadAfter = 3 * time.Second

// SystemCongestionControl as CongestionControl leaves the sockets as the system makes them.
const SystemCongestionControl = "system"

const (
	// methodPrefix comes before the name of the service in gRPC's method.
	methodPrefix  = "/mimir/"
	bufferBytes   = 128 << 10
	handshakeTime = 10 * time.Second
	// maxStreams bounds the streams on one connection; others wait. Nodes keep a few dozen.
	maxStreams = 4096
	// headerBytes bounds the headers of a stream: three names and the name of a service.
	headerBytes = 64 << 10
)

// Options configure New.
type Options struct {
	// Listener is bound already; the transport owns it from New on. May be nil in a process that only opens streams.
	// Where the remote address of an accepted connection has a method Vouch(), it is called once the connection has
	// opened a stream of this fleet, so that the listener can tell nodes from strangers. Then the connection is tuned;
	// one that has a method NetConn() as what that returns.
	Listener net.Listener
	// ServerTLS and ClientTLS are for accepted and for dialled connections; nil means plaintext. If
	// ClientTLS.ServerName is empty, the host of the dialled address is checked against the peer's certificate.
	ServerTLS, ClientTLS *tls.Config
	// ClientCredentials, if not nil, secure dialled connections in the place of ClientTLS: for who has more to do with
	// each of them than a configuration can say.
	ClientCredentials credentials.TransportCredentials
	// Refused is told of accepted connections whose handshake failed. May be nil, must not block.
	Refused func(from net.Addr, err error)

	// FleetID, NodeName and Region are told to every peer. A peer of another fleet refuses with ErrFleet. They have to
	// be the FleetID, NodeID and RegionID of the replicator's Config: one who says in a hello that he is another than
	// here is refused with ErrStranger.
	FleetID, NodeName, Region string

	// Admit returns why a peer is refused that opens a stream, nil if it is taken for whom it says it is. Nil: all are
	// that come through ServerTLS. It is called for each stream and must not block.
	Admit func(Peer) error

	// Keys are secrets of the fleet, each of at least MinKeyBytes: every peer has to show that it has one of them, and
	// is shown the first. None: nobody is asked.
	Keys [][]byte
	// KeyOptional lets those in who show none, and goes on without where a peer has none: for as long as not all have
	// them. Whoever can change what passes between two processes can then keep them from it.
	KeyOptional bool

	// Connections tells how many parallel TCP connections to keep to an address; streams take turns. Nil means one.
	// More of them help where a single one cannot fill a long link.
	Connections func(addr string) int
	// Dialer makes connections. Nil means TCP.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
	// CongestionControl is set on every TCP socket that is dialled, or by which a stream was admitted, where the system
	// has such a choice. Default "bbr", which a lossy long link needs; where that is missing there is one warning, and
	// the system's own is used.
	CongestionControl string
	// DeadAfter is about how long a peer may be silent, on a connection that is not busy or has unacknowledged data,
	// before its streams end. At least MinDeadAfter; default DefaultDeadAfter. A peer whose process hangs while its
	// machine answers is noticed by the accepting side in half as much again, and by the dialling side within 10 s
	// more.
	DeadAfter time.Duration
	// WindowBytes is the receive window of each stream, and of each connection. At least 64 KiB; default
	// DefaultWindowBytes.
	WindowBytes int32
	// Logger receives the warnings. Default slog.Default().
	Logger *slog.Logger

	someKeyless bool          // Keys are those of several fleets, of which some have none
	memberBytes int64         // of what a member may have others keep; 0: the usual
	handshake   time.Duration // that a newcomer gets for it; 0: the usual
}

// Peer is who opens a stream: what it says, and what it showed.
type Peer struct {
	transport.Caller
	Addr string
	// Certificate is what ServerTLS verified; nil if the peer showed none.
	Certificate *x509.Certificate
}

// node is the Transport of a real process.
type node struct {
	options  Options
	sockets  *sockets
	server   *grpc.Server
	services map[string]transport.Handler // set once, before the server runs
	serving  sync.WaitGroup

	dialling credentials.TransportCredentials // of every connection that is made

	mu        sync.Mutex
	closed    bool
	started   bool
	newcomers *Newcomers // nil before Serve, and of a node behind a Port
	peers     map[string]*peer
	retired   map[*peer]bool // in whose place there are others

	port *Port // by which it is reached; nil: its own
}

// New returns a Transport over gRPC. Nothing is accepted before Serve.
func New(o Options) (transport.Transport, error) {
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
	for _, key := range o.Keys {
		if len(key) < MinKeyBytes {
			return nil, fmt.Errorf("transport: a key of %d bytes, must be at least %d", len(key), MinKeyBytes)
		}
	}
	n := &node{options: o, peers: make(map[string]*peer), retired: map[*peer]bool{}}
	n.sockets = &sockets{congestion: o.CongestionControl, deadAfter: o.DeadAfter, logger: o.Logger}
	security := insecure.NewCredentials()
	switch {
	case o.ClientCredentials != nil:
		security = o.ClientCredentials
	case o.ClientTLS != nil:
		security = credentials.NewTLS(o.ClientTLS)
	}
	n.dialling = withKeys(security, &n.options)
	n.server = grpc.NewServer(n.options.serving(n.handle, nil)...)
	return n, nil
}

// serving are the options of a server. wrap, if it is not nil, goes around the credentials.
func (o *Options) serving(
	handle grpc.StreamHandler, wrap func(credentials.TransportCredentials) credentials.TransportCredentials,
) []grpc.ServerOption {
	security := insecure.NewCredentials()
	if o.ServerTLS != nil {
		security = credentials.NewTLS(o.ServerTLS)
	}
	all := &ledgers{logger: o.Logger, most: o.kept(), of: map[member]*ledger{}}
	security = told{metered{withKeys(security, o), all}, o.Refused}
	if wrap != nil {
		security = wrap(security)
	}
	return []grpc.ServerOption{
		grpc.Creds(security),
		grpc.InTapHandle(opening),
		grpc.UnknownServiceHandler(func(srv any, g grpc.ServerStream) error {
			defer keptOf(g.Context()).leave()
			return handle(srv, g)
		}),
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(transport.MaxMessageBytes),
		grpc.MaxSendMsgSize(transport.MaxMessageBytes),
		grpc.StaticStreamWindowSize(o.WindowBytes),
		grpc.StaticConnWindowSize(o.WindowBytes),
		grpc.ReadBufferSize(0),            // see gathered
		grpc.WriteBufferSize(bufferBytes), // shared: there is none while nothing is said
		grpc.ConnectionTimeout(cmp.Or(o.handshake, handshakeTime)),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(headerBytes),
		// The pings wait behind data in the socket: on a slow link a shorter timeout would end a busy connection.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: o.DeadAfter / 2, Timeout: o.DeadAfter}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	}
}

// Serve implements Transport.
func (n *node) Serve(services map[string]transport.Handler) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return transport.ErrClosed
	case n.started:
		return errors.New("transport: Serve called twice")
	case n.options.Listener == nil && n.port == nil:
		return errors.New("transport: Serve without a listener")
	}
	n.started = true
	n.services = make(map[string]transport.Handler, len(services))
	for name, h := range services {
		n.services[name] = h
	}
	if n.port != nil {
		err := n.port.enter(n)
		n.started = err == nil // else it may be tried again
		return err
	}
	l := Greet(n.options.Listener)
	n.newcomers = l
	n.serving.Go(func() {
		if err := n.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			n.options.Logger.Error("transport no longer accepts connections", "address", l.Addr().String(),
				"err", err)
		}
	})
	return nil
}

// Close implements Transport.
func (n *node) Close() error {
	n.mu.Lock()
	peers := slices.AppendSeq(slices.Collect(maps.Values(n.peers)), maps.Keys(n.retired))
	n.closed, n.peers, n.retired = true, nil, nil
	newcomers := n.newcomers
	n.mu.Unlock()
	for _, p := range peers {
		p.close()
	}
	if n.port != nil {
		n.port.leave(n)
	}
	if newcomers != nil {
		newcomers.Dismiss()
	}
	n.server.Stop()
	if l := n.options.Listener; l != nil {
		_ = l.Close() // the server has closed it already if it ran
	}
	n.serving.Wait()
	return nil
}

func (n *node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}
