package server

import (
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

const (
	// formerServers is how many servers of former limits go on with their watches at most, however long those last:
	// each keeps its stream workers.
	formerServers = 4
	// formerTime is how long requests get that are under way at one that is one too many.
	formerTime = time.Minute
	// newcomerTime is how long connections that have not shaken hands keep the others from being asked to leave.
	newcomerTime = time.Second
)

// rpcPort serves gRPC at a port by one server after another: what a server is made with holds for the connections that
// it took, so that other limits are another server. It is safe for concurrent use.
type rpcPort struct {
	make func() *grpc.Server
	// leave has everybody who is connected asked to come anew, in time, and calls done then.
	leave func(done func())
	last  time.Duration // what requests get at a server that is one too many; 0: formerTime

	mu     sync.Mutex
	inner  net.Listener // nil before serve
	now    *servedBy    // nil before serve
	former []*servedBy  // that are not over, the oldest first
	over   bool
}

// servedBy is a server, and the listener by which it is handed connections.
type servedBy struct {
	*grpc.Server
	net.Listener
	connections chan net.Conn
	newcomers   *grpctransport.Newcomers
	closing     sync.Once
	closed      chan struct{}
	leaves      bool // it is one too many
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
	next.newcomers = grpctransport.Greet(next)
	p.now = next
	go next.Serve(next.newcomers) //nolint:errcheck // ends with its listener
}

// renew has connections served by a new server from now on. Clients of the one before are asked to leave, when there is
// room for them to come anew; requests and watches that are under way end where they are, but for those of servers that
// are too many by then.
func (p *rpcPort) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil || p.over {
		return
	}
	before := p.now
	p.begin()
	p.former = append(p.former, before)
	time.AfterFunc(newcomerTime, before.newcomers.Dismiss)
	p.leave(func() {
		before.GracefulStop()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.former = slices.DeleteFunc(p.former, func(s *servedBy) bool { return s == before })
	})
	p.thin()
}

// thin ends the oldest of too many former servers after a while. The caller holds mu.
func (p *rpcPort) thin() {
	after := p.last
	if after == 0 {
		after = formerTime
	}
	for _, s := range p.former[:max(0, len(p.former)-formerServers)] {
		if !s.leaves {
			s.leaves = true
			time.AfterFunc(after, s.Stop)
		}
	}
}

// end ends what is accepted, and returns the servers.
func (p *rpcPort) end() (servers []*servedBy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.inner != nil {
		p.inner.Close()
	}
	if servers = slices.Clone(p.former); p.now != nil {
		servers = append(servers, p.now)
	}
	return servers
}

// gracefulStop tells clients to go elsewhere, and returns when all requests are over. Who has not shaken hands goes at
// once.
func (p *rpcPort) gracefulStop() {
	var all sync.WaitGroup
	for _, s := range p.end() {
		s.newcomers.Dismiss()
		all.Go(s.GracefulStop)
	}
	all.Wait()
}

// stop ends everything at once.
func (p *rpcPort) stop() {
	for _, s := range p.end() {
		s.newcomers.Dismiss()
		s.Stop()
	}
}
