package members

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// RaftID derives a node's Raft identity from its names. A node that lost its disk comes back under another name.
func RaftID(region, node string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", region, node)
	return max(h.Sum64(), 1)
}

// Directory finds the nodes of this region. An address is configuration and may change with every start of a node, so
// there are several words of where it is (M4): what it told this process, what it published to the region, what an
// operator said, and this node's own configuration. They are tried in turn, the likeliest first. It is safe for
// concurrent use.
type Directory struct {
	self       uint64
	configured map[uint64]named
	applied    *region.Applied
	leader     func() uint64 // Raft identity, zero if none is known

	mu     sync.Mutex
	told   map[uint64]timeline.Member // what nodes told this process, the newest word of each
	routes map[uint64]route
}

// named is a node as the configuration knows it.
type named struct{ name, addr string }

// route is which of the addresses of a node is in use. It holds as long as the likeliest is what it was.
type route struct {
	likeliest string
	at        int
}

// NewDirectory returns the directory of the node self in the region of this name. nodes are the configured ones, name
// to peer address; leader returns the Raft identity of the region's leader, zero while none is known.
func NewDirectory(
	name string, self uint64, nodes map[string]string, applied *region.Applied, leader func() uint64,
) *Directory {
	d := &Directory{
		self: self, configured: map[uint64]named{}, applied: applied, leader: leader,
		told: map[uint64]timeline.Member{}, routes: map[uint64]route{},
	}
	for node, addr := range nodes {
		d.configured[RaftID(name, node)] = named{node, addr}
	}
	return d
}

// Addr returns where a member is reached, as far as is known: of the addresses that it may have, one that did not fail
// since the others did.
func (d *Directory) Addr(id uint64) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.addresses(id)
	if len(list) == 0 {
		return "", false
	}
	if r := d.routes[id]; r.likeliest == list[0] {
		return list[r.at%len(list)], true
	}
	return list[0], true
}

// Failed says that a member was not reached at addr: if that is the address in use, the next one is tried.
func (d *Directory) Failed(id uint64, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.addresses(id)
	if len(list) < 2 {
		return
	}
	r := d.routes[id]
	if r.likeliest != list[0] {
		r = route{likeliest: list[0]}
	}
	if list[r.at%len(list)] == addr {
		r.at = (r.at + 1) % len(list)
	}
	d.routes[id] = r
}

// Addresses returns every address that a member may have, the likeliest first.
func (d *Directory) Addresses(id uint64) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addresses(id)
}

// addresses is Addresses, with the lock. What a node told this process is the likeliest, unless the region has a newer
// word of it; what the region has from an earlier life of this process may be older than this node's configuration,
// and comes behind it.
func (d *Directory) addresses(id uint64) []string {
	said, _ := d.published(id)
	told, configured := d.told[id], d.configured[id].addr
	words := []string{configured, said.PeerAddr}
	switch {
	case told.PeerAddr == "":
	case told.Starts >= said.Starts:
		words = []string{told.PeerAddr, configured, said.PeerAddr}
	default:
		words = []string{said.PeerAddr, told.PeerAddr, configured}
	}
	var list []string
	for _, addr := range words {
		if addr != "" && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return list
}

// published returns a member as the region's log has it.
func (d *Directory) published(id uint64) (timeline.Member, bool) {
	known := d.applied.State().Members
	if i := slices.IndexFunc(known, func(m timeline.Member) bool { return m.ID == id }); i >= 0 {
		return known[i], true
	}
	return timeline.Member{}, false
}

// Tell takes a node's own word of where it is, from itself. One of an earlier start than is known changes nothing.
func (d *Directory) Tell(m timeline.Member) { d.hear(m, m.Starts) }

// Pass takes a word of where a node is from another one, which has it from the region's log: it may be an operator's,
// and counts if nothing of so late a start is known.
func (d *Directory) Pass(m timeline.Member) { d.hear(m, max(m.Starts, 1)-1) }

// hear keeps a word if no newer one is known than of so many starts.
func (d *Directory) hear(m timeline.Member, newest uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.ID != d.self && m.PeerAddr != "" && m.Starts != 0 && d.told[m.ID].Starts <= newest {
		d.told[m.ID] = timeline.Member{ID: m.ID, PeerAddr: m.PeerAddr, Starts: m.Starts}
	}
}

// heardStarts returns how often a node had started by what it told this process, zero if it told nothing.
func (d *Directory) heardStarts(id uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.told[id].Starts
}

// Said returns where a member is by what the region's log says, or else by this node's configuration.
func (d *Directory) Said(id uint64) string {
	m, _ := d.published(id)
	return cmp.Or(m.PeerAddr, d.configured[id].addr)
}

// Removed reports whether the region remembers that this identity was removed from it.
func (d *Directory) Removed(id uint64) bool { return slices.Contains(d.applied.State().Removed, id) }

// Name returns a member's name, "" if nobody said it.
func (d *Directory) Name(id uint64) string {
	m, _ := d.published(id)
	return cmp.Or(m.Name, d.configured[id].name)
}

// LeaderAddr returns where the region's leader is reached, "" if none is known.
func (d *Directory) LeaderAddr() string {
	id := d.leader()
	if id == 0 {
		return ""
	}
	addr, _ := d.Addr(id)
	return addr
}

// LeaderName returns the name of the region's leader, "" if none is known.
func (d *Directory) LeaderName() string {
	id := d.leader()
	if id == 0 {
		return ""
	}
	return d.Name(id)
}

// Others returns where to reach the other nodes of the region.
func (d *Directory) Others() []string {
	var list []string
	for _, id := range d.others() {
		if addr, ok := d.Addr(id); ok {
			list = append(list, addr)
		}
	}
	return list
}

// Everywhere returns every address that another node of the region may have.
func (d *Directory) Everywhere() []string {
	var list []string
	for _, id := range d.others() {
		list = append(list, d.Addresses(id)...)
	}
	return list
}

// others returns the other nodes of the region: those that described themselves to it, and then those that are
// configured and were not removed. What is applied here may be from before some of them did.
func (d *Directory) others() []uint64 {
	var list []uint64
	for _, m := range d.applied.State().Members {
		if m.ID != d.self && m.PeerAddr != "" {
			list = append(list, m.ID)
		}
	}
	byName := func(a, b uint64) int { return cmp.Compare(d.configured[a].name, d.configured[b].name) }
	for _, id := range slices.SortedFunc(maps.Keys(d.configured), byName) {
		if id != d.self && !slices.Contains(list, id) && !d.Removed(id) {
			list = append(list, id)
		}
	}
	return list
}
