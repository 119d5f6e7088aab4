package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Fleet is what a Port asks of the peers of one fleet; see the fields of Options.
type Fleet struct {
	Keys        [][]byte
	KeyOptional bool
	Admit       func(Peer) error
}

// PortOptions configure NewPort. Of Options, what is asked of peers and FleetID stay empty: they are of each fleet.
type PortOptions struct {
	Options
	// Fleets are all that the port is for, by FleetID.
	Fleets map[string]Fleet
	// Unknown is told of streams of other fleets, which are refused. May be nil, must not block.
	Unknown func(fleet, from string)
}

// Port is one listener of several fleets, which know nothing of each other: a stream is of the fleet that it names, and
// a connection of that of its first stream. It is safe for concurrent use.
type Port struct {
	options   PortOptions
	server    *grpc.Server
	newcomers *Newcomers
	serving   sync.WaitGroup

	mu      sync.Mutex
	entered map[string]*entrance // by fleet; only those that serve
}

// entrance is a fleet's Transport with the connections on which it serves a stream, and how many.
type entrance struct {
	node     *node
	lines    map[*line]int
	handlers sync.WaitGroup
}

// line is an accepted connection.
type line struct {
	net.Conn
	fleet string // under Port.mu; empty before the first stream
}

type lineInfo struct {
	credentials.AuthInfo
	line *line
}

// lined are credentials that remember the connection.
type lined struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (l lined) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := l.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return c, info, err
	}
	return c, lineInfo{info, &line{Conn: raw}}, nil
}

// Clone implements credentials.TransportCredentials.
func (l lined) Clone() credentials.TransportCredentials { return lined{l.TransportCredentials.Clone()} }

// NewPort returns a Port that accepts nothing before Serve. It owns the Listener.
func NewPort(o PortOptions) (*Port, error) {
	if o.Listener == nil || len(o.Fleets) == 0 {
		return nil, errors.New("transport: a Port needs a Listener and Fleets")
	}
	o.FleetID = "of each"
	for _, f := range o.Fleets {
		o.Keys = append(o.Keys, f.Keys...)
		o.someKeyless = o.someKeyless || len(f.Keys) == 0
	}
	checked, err := New(o.Options)
	if err != nil {
		return nil, err
	}
	n := checked.(*node)
	p := &Port{options: o, entered: map[string]*entrance{}}
	p.newcomers = Greet(o.Listener)
	p.options.Options = n.options
	p.server = grpc.NewServer(p.options.serving(p.handle,
		func(c credentials.TransportCredentials) credentials.TransportCredentials { return lined{c} })...)
	return p, nil
}

// Transport returns that of one of the fleets, which is reached by the port from its Serve to its Close. A fleet has
// one at a time.
func (p *Port) Transport(fleet string) (transport.Transport, error) {
	f, ok := p.options.Fleets[fleet]
	if !ok {
		return nil, fmt.Errorf("transport: the port is not for fleet %q", fleet)
	}
	o := p.options.Options
	o.Listener, o.FleetID, o.Keys, o.KeyOptional, o.Admit = nil, fleet, f.Keys, f.KeyOptional, f.Admit
	t, err := New(o)
	if err != nil {
		return nil, err
	}
	t.(*node).port = p
	return t, nil
}

// Serve begins to accept, and returns at once. It is called once.
func (p *Port) Serve() {
	p.serving.Go(func() {
		if err := p.server.Serve(p.newcomers); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			p.options.Logger.Error("transport no longer accepts connections", "address",
				p.newcomers.Addr().String(), "err", err)
		}
	})
}

// Close stops accepting, and ends what is open.
func (p *Port) Close() {
	p.newcomers.Dismiss()
	p.server.Stop()
	_ = p.options.Listener.Close() // the server has closed it already if it ran
	p.serving.Wait()
}

// enter lets streams of a fleet in.
func (p *Port) enter(n *node) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entered[n.options.FleetID] != nil {
		return fmt.Errorf("transport: fleet %q is served already", n.options.FleetID)
	}
	p.entered[n.options.FleetID] = &entrance{node: n, lines: map[*line]int{}}
	return nil
}

// leave lets no more in, and ends those that are. A stream ends with its connection only.
func (p *Port) leave(n *node) {
	p.mu.Lock()
	e := p.entered[n.options.FleetID]
	if e == nil || e.node != n {
		p.mu.Unlock()
		return
	}
	delete(p.entered, n.options.FleetID)
	for l := range e.lines {
		l.Close()
	}
	p.mu.Unlock()
	e.handlers.Wait()
}

// handle serves one stream of any fleet.
func (p *Port) handle(srv any, g grpc.ServerStream) error {
	n, done, err := p.route(g.Context())
	if err != nil {
		return failed(g, err)
	}
	defer done()
	return n.handle(srv, g)
}

// route returns who serves a stream, and what to call when it ended.
func (p *Port) route(ctx context.Context) (*node, func(), error) {
	md, _ := metadata.FromIncomingContext(ctx)
	fleet, from := first(md, fleetKey), describePeer(ctx, md)
	if _, ok := p.options.Fleets[fleet]; !ok {
		if p.options.Unknown != nil {
			p.options.Unknown(fleet, from)
		}
		return nil, nil, fmt.Errorf("%w: %s serves no fleet %q, of which is %s", transport.ErrFleet,
			p.options.NodeName, fleet, from)
	}
	var l *line
	if at, ok := grpcpeer.FromContext(ctx); ok {
		if info, ok := at.AuthInfo.(lineInfo); ok {
			l = info.line
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entered[fleet]
	switch {
	case l == nil:
		return nil, nil, fmt.Errorf("%w: a connection that was not accepted here", transport.ErrUnreachable)
	case l.fleet != "" && l.fleet != fleet:
		return nil, nil, fmt.Errorf("%w: this connection to %s is of fleet %q, %s is of fleet %q", transport.ErrFleet,
			p.options.NodeName, l.fleet, from, fleet)
	case e == nil:
		return nil, nil, fmt.Errorf("%w: %s does not serve fleet %q now: its log says why", transport.ErrUnreachable,
			p.options.NodeName, fleet)
	}
	l.fleet = fleet
	e.lines[l]++
	e.handlers.Add(1)
	return e.node, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if e.lines[l]--; e.lines[l] == 0 {
			delete(e.lines, l)
		}
		e.handlers.Done()
	}, nil
}

// Open reports which fleets are served now, in order of their names.
func (p *Port) Open() (fleets []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for fleet := range p.entered {
		fleets = append(fleets, fleet)
	}
	slices.Sort(fleets)
	return fleets
}
