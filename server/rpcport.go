package server

import (
	"net"
	"sync"

	"google.golang.org/grpc"
)

// rpcPort serves gRPC at a port by one server after another: what a server is made with holds for the connections that
// it took, so that other limits are another server. It is safe for concurrent use.
type rpcPort struct {
	make func() *grpc.Server
	// leave has everybody who is connected asked to come anew, in time, and calls done then.
	leave func(done func())

	mu     sync.Mutex
	inner  net.Listener // nil before serve
	now    *servedBy    // nil before serve
	former map[*grpc.Server]bool
	over   bool
}

// servedBy is a server, and the listener by which it is handed connections.
type servedBy struct {
	*grpc.Server
	net.Listener
	connections chan net.Conn
	closing     sync.Once
	closed      chan struct{}
}

// Accept implements net.Listener.
func (s *servedBy) Accept() (net.Conn, error) {
	select {
	case c := <-s.connections:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *servedBy) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return nil
}

// serve serves what l accepts until stop, and returns grpc.ErrServerStopped then.
func (p *rpcPort) serve(l net.Listener) error {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return grpc.ErrServerStopped
	}
	p.inner = l
	p.begin()
	p.mu.Unlock()
	for {
		c, err := l.Accept()
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.over {
				err = grpc.ErrServerStopped
			}
			return err
		}
		p.hand(c)
	}
}

// hand gives a connection to the server of now.
func (p *rpcPort) hand(c net.Conn) {
	for {
		p.mu.Lock()
		to, over := p.now, p.over
		p.mu.Unlock()
		if over {
			c.Close()
			return
		}
		select {
		case to.connections <- c:
			return
		case <-to.closed:
		}
	}
}

// begin makes the server of now. The caller holds mu.
func (p *rpcPort) begin() {
	next := &servedBy{
		Server: p.make(), Listener: p.inner, connections: make(chan net.Conn), closed: make(chan struct{}),
	}
	p.now = next
	go next.Serve(next) //nolint:errcheck // ends with its listener
}

// renew has connections served by a new server from now on. Clients of the one before are asked to leave, when there is
// room for them to come anew; requests and watches that are under way end where they are.
func (p *rpcPort) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil || p.over {
		return
	}
	before := p.now.Server
	p.begin()
	if p.former == nil {
		p.former = map[*grpc.Server]bool{}
	}
	p.former[before] = true
	p.leave(func() {
		before.GracefulStop()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.former, before)
	})
}

// end ends what is accepted, and returns the servers.
func (p *rpcPort) end() (servers []*grpc.Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.inner != nil {
		p.inner.Close()
	}
	if p.now != nil {
		servers = append(servers, p.now.Server)
	}
	for s := range p.former {
		servers = append(servers, s)
	}
	return servers
}

// gracefulStop tells clients to go elsewhere, and returns when all requests are over.
func (p *rpcPort) gracefulStop() {
	var all sync.WaitGroup
	for _, s := range p.end() {
		all.Go(s.GracefulStop)
	}
	all.Wait()
}

// stop ends everything at once.
func (p *rpcPort) stop() {
	for _, s := range p.end() {
		s.Stop()
	}
}
