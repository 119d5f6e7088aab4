package replication_test

import (
	"context"
	"sync"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/transport"
)

// names are who speaks from which address of a network in memory, as certificates say it elsewhere.
type names struct {
	mu     sync.Mutex
	byAddr map[string]transport.Caller
}

// give says who speaks from an address, and returns t as a transport that tells whom it serves.
func (n *names) give(addr string, c transport.Caller, t transport.Transport) transport.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byAddr == nil {
		n.byAddr = map[string]transport.Caller{}
	}
	n.byAddr[addr] = c
	return told{t, n}
}

func (n *names) of(addr string) transport.Caller {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byAddr[addr]
}

// told is a transport that tells its handlers who opened their streams.
type told struct {
	transport.Transport
	names *names
}

// Serve implements transport.Transport.
func (t told) Serve(services map[string]transport.Handler) error {
	telling := map[string]transport.Handler{}
	for name, h := range services {
		telling[name] = func(ctx context.Context, s transport.Stream) error {
			c := t.names.of(s.Peer())
			return h(transport.WithCaller(ctx, c), toldStream{s, transport.WithCaller(s.Context(), c)})
		}
	}
	return t.Transport.Serve(telling)
}

type toldStream struct {
	transport.Stream
	ctx context.Context
}

// Context implements transport.Stream.
func (s toldStream) Context() context.Context { return s.ctx }

// port is the network of a node, which the others know by its name.
func (f *testFleet) port(c *replication.Config) transport.Transport {
	port := f.named(c.PeerAddr, c.RegionID, c.NodeID)
	if f.through != nil {
		return f.through(port)
	}
	return port
}

// named is the network at an address of somebody of this name.
func (f *testFleet) named(addr, region, node string) transport.Transport {
	return f.callers.give(addr, transport.Caller{Region: region, Node: node}, f.network.Node(addr))
}
