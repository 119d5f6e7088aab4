package memory

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Defaults of a Network.
const (
	// DefaultWindowBytes bounds what is on its way in one direction of one stream.
	DefaultWindowBytes = 4 << 20
	// DefaultDetection is how long a stalled stream lives.
	DefaultDetection = 5 * time.Second
)

// Network is a set of addresses that can reach each other, unless told otherwise. It is safe for concurrent use.
//
// Where a control takes a place, that is an address or a group (see SetGroups); the most specific setting wins.
type Network struct {
	clock clock.Clock

	mu        sync.Mutex
	seed      uint64
	opened    map[route]uint64 // how many streams were
	nodes     map[string]*node
	streams   map[*stream]struct{}
	group     func(addr string) string
	cuts      map[link]bool
	isolated  map[string]bool
	delays    map[link]delay
	window    int
	detection time.Duration
	poison    bool
}

// link is one direction between two places.
type link struct{ from, to string }

// route is where a stream goes.
type route struct{ from, to, service string }

type delay struct{ base, jitter time.Duration }

// NewNetwork returns a network without delays. seed decides every jitter.
func NewNetwork(c clock.Clock, seed uint64) *Network {
	return &Network{
		clock:     c,
		seed:      seed,
		opened:    make(map[route]uint64),
		nodes:     make(map[string]*node),
		streams:   make(map[*stream]struct{}),
		group:     func(string) string { return "" },
		cuts:      make(map[link]bool),
		isolated:  make(map[string]bool),
		delays:    make(map[link]delay),
		window:    DefaultWindowBytes,
		detection: DefaultDetection,
	}
}

// Node returns the transport of the process at addr. There is one at a time: it panics if the former one was neither
// closed nor crashed.
func (n *Network) Node(addr string) transport.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[addr] != nil {
		panic(fmt.Sprintf("memory: a node at %q exists", addr))
	}
	nd := &node{net: n, addr: addr, closed: make(chan struct{})}
	n.nodes[addr] = nd
	return nd
}

// SetGroups names the group of each address, such as its region, so that groups can be cut and delayed as a whole.
// An empty name is no group. group must be a pure function.
func (n *Network) SetGroups(group func(addr string) string) {
	n.change(func() { n.group = group })
}

// SetWindow bounds what is on its way in one direction of each stream opened from now on. A larger message passes
// alone.
func (n *Network) SetWindow(bytes int) { n.change(func() { n.window = bytes }) }

// SetDetection sets how long a stalled stream lives before it breaks, for stalls that begin from now on.
func (n *Network) SetDetection(d time.Duration) { n.change(func() { n.detection = d }) }

// SetPoison makes every Send hand over a copy and overwrite what it was given, which shows a sender that goes on
// using a message.
func (n *Network) SetPoison(on bool) { n.change(func() { n.poison = on }) }

// SetDelay delays each message between two places, in both directions, by d plus a random part of jitter.
func (n *Network) SetDelay(a, b string, d, jitter time.Duration) {
	n.change(func() {
		n.delays[link{a, b}] = delay{d, jitter}
		n.delays[link{b, a}] = delay{d, jitter}
	})
}

// Cut cuts the link between two places in both directions.
func (n *Network) Cut(a, b string) {
	n.change(func() { n.cuts[link{a, b}], n.cuts[link{b, a}] = true, true })
}

// CutOneWay cuts the link in one direction only: what from sends does not arrive.
func (n *Network) CutOneWay(from, to string) {
	n.change(func() { n.cuts[link{from, to}] = true })
}

// Heal undoes Cut and CutOneWay of exactly these two places.
func (n *Network) Heal(a, b string) {
	n.change(func() {
		delete(n.cuts, link{a, b})
		delete(n.cuts, link{b, a})
	})
}

// Isolate cuts a place from every address outside it. Reconnect undoes it. The nodes of a group still reach each other.
func (n *Network) Isolate(place string) { n.change(func() { n.isolated[place] = true }) }

// Reconnect undoes Isolate.
func (n *Network) Reconnect(place string) { n.change(func() { delete(n.isolated, place) }) }

// HealAll undoes every cut and isolation. Delays stay.
func (n *Network) HealAll() {
	n.change(func() {
		clear(n.cuts)
		clear(n.isolated)
	})
}

// Break ends every stream between two places at once; new ones can be opened.
func (n *Network) Break(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.streams {
		from, to := s.opener.addr, s.server.addr
		if n.within(from, a) && n.within(to, b) || n.within(from, b) && n.within(to, a) {
			s.abort(errBroken)
		}
	}
}

// Crash ends the process at addr as a kill would: its transport is closed and its streams break at once, on both
// sides unless the link is cut. It does not wait for handlers. Node makes a new process there.
func (n *Network) Crash(addr string) {
	n.mu.Lock()
	nd := n.nodes[addr]
	n.mu.Unlock()
	if nd != nil {
		nd.stop()
	}
}

// change applies f and lets every stream see it.
func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	for s := range n.streams {
		s.setStalled(n.isCut(s.opener.addr, s.server.addr), n.isCut(s.server.addr, s.opener.addr))
	}
}

// within reports whether addr is, or belongs to, the place.
func (n *Network) within(addr, place string) bool {
	return addr == place || place != "" && n.group(addr) == place
}

// places returns the names that settings for addr may go by, the most specific first.
func (n *Network) places(addr string) [2]string { return [2]string{addr, n.group(addr)} }

func (n *Network) isCut(from, to string) bool {
	if from == to {
		return false
	}
	for place := range n.isolated {
		if n.within(from, place) != n.within(to, place) {
			return true
		}
	}
	for _, f := range n.places(from) {
		for _, t := range n.places(to) {
			if n.cuts[link{f, t}] {
				return true
			}
		}
	}
	return false
}

// sample returns the delay of one message.
func (n *Network) sample(from, to string, random *rand.Rand) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if from == to || len(n.delays) == 0 {
		return 0
	}
	for _, f := range n.places(from) {
		for _, t := range n.places(to) {
			d, ok := n.delays[link{f, t}]
			if !ok {
				continue
			}
			if d.jitter <= 0 {
				return d.base
			}
			return d.base + time.Duration(random.Int64N(int64(d.jitter)))
		}
	}
	return 0
}

// dice returns the jitter of the next stream on a route, for what its opener sends and for the answers. That of other
// streams changes nothing, so that it does not matter which of two goroutines is first. The caller holds mu.
func (n *Network) dice(r route) (there, back *rand.Rand) {
	n.opened[r]++
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %s %s %d", r.from, r.to, r.service, n.opened[r]) // never fails
	return rand.New(rand.NewPCG(n.seed, h.Sum64())), rand.New(rand.NewPCG(^n.seed, h.Sum64()))
}
