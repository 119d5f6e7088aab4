package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mimir-kv/mimir/replication/transport"
)

// node is the transport of one address.
type node struct {
	net    *Network
	addr   string
	nobody bool // stands for whoever might be behind a cut

	// services is guarded by net.mu until set, and never changed afterwards.
	services map[string]transport.Handler
	stopOnce sync.Once
	closed   chan struct{}
	handlers sync.WaitGroup
}

// Serve implements transport.Transport.
func (nd *node) Serve(services map[string]transport.Handler) error {
	nd.net.mu.Lock()
	defer nd.net.mu.Unlock()
	switch {
	case nd.isClosed():
		return transport.ErrClosed
	case nd.services != nil:
		return errors.New("memory: Serve called twice")
	}
	nd.services = make(map[string]transport.Handler, len(services))
	for name, h := range services {
		nd.services[name] = h
	}
	return nil
}

// Open implements transport.Transport. Nobody at addr is an error at once; a cut link shows only with time.
func (nd *node) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := nd.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if nd.isClosed() {
		return nil, transport.ErrClosed
	}
	there, back := n.isCut(nd.addr, addr), n.isCut(addr, nd.addr)
	peer := n.nodes[addr]
	if peer == nil || peer.services == nil {
		if there || back {
			peer = &node{net: n, addr: addr, nobody: true, closed: make(chan struct{})}
		} else {
			return nil, fmt.Errorf("%w: nobody listens at %s", transport.ErrUnreachable, addr)
		}
	}
	s := newStream(ctx, nd, peer, service)
	n.streams[s] = struct{}{}
	s.setStalled(there, back)
	peer.handlers.Add(1)
	go peer.serve(s, service)
	return s.opener, nil
}

// serve runs the handler of a stream once its opening has arrived.
func (nd *node) serve(s *stream, service string) {
	defer nd.handlers.Done()
	if !s.awaitArrival(s.server, s.delay(s.opener)) {
		return
	}
	if nd.services == nil { // behind a cut that is healed now: there is nobody
		s.abort(fmt.Errorf("%w: nobody listens at %s", transport.ErrUnreachable, nd.addr))
		return
	}
	h := nd.services[service]
	var err error
	if h == nil {
		err = fmt.Errorf("%w: %s at %s", transport.ErrNoService, service, nd.addr)
	} else {
		err = h(s.server.ctx, s.server)
	}
	s.finish(err)
}

// Close implements transport.Transport.
func (nd *node) Close() error {
	nd.stop()
	nd.handlers.Wait()
	return nil
}

func (nd *node) isClosed() bool {
	select {
	case <-nd.closed:
		return true
	default:
		return false
	}
}

// stop ends everything this node takes part in and frees its address.
func (nd *node) stop() {
	nd.stopOnce.Do(func() {
		n := nd.net
		n.mu.Lock()
		defer n.mu.Unlock()
		close(nd.closed)
		if n.nodes[nd.addr] == nd {
			delete(n.nodes, nd.addr)
		}
		for s := range n.streams {
			s.leave(nd)
		}
	})
}
