package telemetry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Of what passes between this node and others. Those of etcd are of the nodes of the region, by their identity in
// hexadecimal.
var (
	peerSent = Declare(Counter, "mimir_peer_sent_bytes_total", "Bytes of messages to another node, by what they are "+
		"for: "+strings.Join(services, ", ")+". Those of stream are the history on its way to a secondary.",
		"region", "node", "service")
	peerReceived = Declare(Counter, "mimir_peer_received_bytes_total", "Bytes of messages from another node, likewise.",
		"region", "node", "service")
	peerFailures = Declare(Counter, "mimir_peer_failures_total", "Streams to another node that could not be opened or "+
		"broke while something was sent, and probes that were not answered within 5 s.", "region", "node")
	peerTrip = Declare(Histogram, "mimir_peer_round_trip_seconds", "Time from a probe to its answer by another node; "+
		"there is one every 5 s.", "region", "node")

	etcdSent = Declare(Counter, "etcd_network_peer_sent_bytes_total",
		"Bytes of messages to a node of the region.", "To")
	etcdReceived = Declare(Counter, "etcd_network_peer_received_bytes_total",
		"Bytes of messages from a node of the region.", "From")
	etcdFailures = Declare(Counter, "etcd_network_peer_sent_failures_total",
		"As mimir_peer_failures_total, of nodes of the region.", "To")
	etcdTrip = Declare(Histogram, "etcd_network_peer_round_trip_time_seconds",
		"As mimir_peer_round_trip_seconds, of nodes of the region.", "To")
)

// tripBuckets are etcd's.
var tripBuckets = prometheus.ExponentialBuckets(0.0001, 2, 16)

// services are what streams are for: their names without the version. The last one stands for all others.
var services = []string{"call", "copy", "propose", "raft", "raft.snapshot", "stream", "other"}

// serviceOf returns the place of a stream's service.
func serviceOf(name string) int {
	name, _, _ = strings.Cut(name, "/")
	if i := slices.Index(services, name); i >= 0 {
		return i
	}
	return len(services) - 1
}

// Peer is another node of the fleet.
type Peer struct {
	ID           uint64
	Region, Name string
	Addrs        []string // where it is reached, the likeliest first
}

// Wire is a transport that counts what it carries, by the nodes that the fleet has. It is safe for concurrent use.
type Wire struct {
	transport.Transport
	Unchecked
	region string // of this node
	peers  func() []Peer

	mu     sync.Mutex
	opened map[string]*flow           // by address, of those that this node opened a stream to
	taken  map[*flow]transport.Caller // of every stream that another opened
	nodes  map[uint64]*remote
}

// flow is what has passed and is not added to a node yet: for a while nobody knows who is at an address, or whether the
// fleet has the one who calls.
type flow struct {
	sent, received [7]atomic.Uint64 // by service
	failures       atomic.Uint64
}

// remote is what has passed between this node and another.
type remote struct {
	Peer
	sent, received [7]uint64
	failures       uint64
	trip, etcdTrip prometheus.Histogram
}

// NewWire returns t with figures. peers returns the other nodes of the fleet as they are known now; it is called at a
// scrape and for a probe.
func NewWire(t transport.Transport, region string, peers func() []Peer) *Wire {
	return &Wire{
		Transport: t, region: region, peers: peers,
		opened: map[string]*flow{}, taken: map[*flow]transport.Caller{}, nodes: map[uint64]*remote{},
	}
}

// Open implements transport.Transport.
func (w *Wire) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	f := w.to(addr)
	s, err := w.Transport.Open(ctx, addr, service)
	if err != nil {
		if ctx.Err() == nil {
			f.failures.Add(1)
		}
		return nil, err
	}
	return &countedWire{s, f, serviceOf(service)}, nil
}

// Serve implements transport.Transport, and answers probes.
func (w *Wire) Serve(services map[string]transport.Handler) error {
	all := map[string]transport.Handler{pingService: answerPing}
	for name, h := range services {
		all[name] = func(ctx context.Context, s transport.Stream) error {
			f := w.take(ctx)
			defer w.release(f)
			return h(ctx, &countedWire{s, f, serviceOf(name)})
		}
	}
	return w.Transport.Serve(all)
}

// to returns the flow to an address: those are of settings and of members.
func (w *Wire) to(addr string) *flow {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.opened[addr]
	if f == nil {
		f = new(flow)
		w.opened[addr] = f
	}
	return f
}

// take returns the flow of a stream that another opened. Whether the fleet has such a node may be known later.
func (w *Wire) take(ctx context.Context) *flow {
	f := new(flow)
	caller, _ := transport.CallerOf(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken[f] = caller
	return f
}

// release ends a flow. What passed of somebody whom the fleet has not is forgotten (T4).
func (w *Wire) release(f *flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.named(w.taken[f]); n != nil {
		n.add(f)
	}
	delete(w.taken, f)
}

func (w *Wire) named(c transport.Caller) *remote {
	for _, n := range w.nodes {
		if n.Region == c.Region && n.Name == c.Node {
			return n
		}
	}
	return nil
}

// know finds out who is in the fleet, and adds to each what has passed. Who left is forgotten. The caller holds mu.
func (w *Wire) know() {
	now := map[uint64]*remote{}
	for _, p := range w.peers() {
		n := w.nodes[p.ID]
		if n == nil || n.Region != p.Region || n.Name != p.Name {
			n = &remote{Peer: p, trip: peerTrip.histogram(tripBuckets, p.Region, p.Name)}
			n.etcdTrip = etcdTrip.histogram(tripBuckets, hex(p.ID))
		}
		n.Addrs, now[p.ID] = p.Addrs, n
		for _, addr := range p.Addrs {
			n.add(w.opened[addr])
		}
	}
	w.nodes = now
	w.forget()
	for f, caller := range w.taken {
		if n := w.named(caller); n != nil {
			n.add(f)
		}
	}
}

// mostOpened is how many addresses are remembered before those at which no node is are forgotten: nodes come back at
// others.
const mostOpened = 1024

// forget makes room for other addresses. What passes over streams that are open there is of nobody then. The caller
// holds mu.
func (w *Wire) forget() {
	if len(w.opened) <= mostOpened {
		return
	}
	known := map[string]bool{}
	for _, n := range w.nodes {
		for _, addr := range n.Addrs {
			known[addr] = true
		}
	}
	maps.DeleteFunc(w.opened, func(addr string, _ *flow) bool { return !known[addr] })
}

// hex is an identity as etcd writes it.
func hex(id uint64) string { return fmt.Sprintf("%x", id) }

// add takes what has passed.
func (n *remote) add(f *flow) {
	if f == nil {
		return
	}
	for i := range services {
		n.sent[i] += f.sent[i].Swap(0)
		n.received[i] += f.received[i].Swap(0)
	}
	n.failures += f.failures.Swap(0)
}

// Collect implements prometheus.Collector.
func (w *Wire) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.know()
	for _, n := range w.nodes {
		var sent, received uint64
		for i, service := range services {
			sent, received = sent+n.sent[i], received+n.received[i]
			if n.sent[i]+n.received[i] > 0 {
				peerSent.Set(out, float64(n.sent[i]), n.Region, n.Name, service)
				peerReceived.Set(out, float64(n.received[i]), n.Region, n.Name, service)
			}
		}
		peerFailures.Set(out, float64(n.failures), n.Region, n.Name)
		n.trip.Collect(out)
		if n.Region != w.region {
			continue
		}
		etcdSent.Set(out, float64(sent), hex(n.ID))
		etcdReceived.Set(out, float64(received), hex(n.ID))
		etcdFailures.Set(out, float64(n.failures), hex(n.ID))
		n.etcdTrip.Collect(out)
	}
}

// countedWire is a stream that counts its bytes.
type countedWire struct {
	transport.Stream
	flow    *flow
	service int
}

// Send implements transport.Stream.
func (s *countedWire) Send(p []byte) error {
	bytes := len(p) // the transport owns p from here on
	err := s.Stream.Send(p)
	switch {
	case err == nil:
		s.flow.sent[s.service].Add(uint64(bytes))
	case s.Context().Err() == nil:
		s.flow.failures.Add(1)
	}
	return err
}

// Recv implements transport.Stream.
func (s *countedWire) Recv() ([]byte, error) {
	p, err := s.Stream.Recv()
	s.flow.received[s.service].Add(uint64(len(p)))
	return p, err
}

// Leaving is for transport.Leaving.
func (s *countedWire) Leaving() <-chan struct{} { return transport.Leaving(s.Stream) }
