package fleet

import (
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// maxPlaces bounds what is kept of one region.
const maxPlaces = 64

// places is where the nodes of one region are by their own words, beside what is configured. An address is
// configuration, and the file of this region may be older than that of the other.
//
// A node that answers at a configured address, and is elsewhere by its own word, is behind a way that this region was
// given on purpose: that way stays the only one to it, until its word changes.
type places struct {
	configured []string
	words      map[uint64]timeline.Member // the newest of each node: ID, PeerAddr and Starts
	ways       map[uint64]string          // what a node said while it answered at a configured address
	strange    map[string]bool            // addresses at which a node of another region answered last
}

func newPlaces(configured []string) *places {
	return &places{
		configured: configured, words: map[uint64]timeline.Member{}, ways: map[uint64]string{},
		strange: map[string]bool{},
	}
}

// configure has other addresses configured: no way is one any more before a node answers there.
func (p *places) configure(addrs []string) {
	p.configured = addrs
	clear(p.ways)
}

// belongs takes note of whether a node of the region answered at an address, or one of another.
func (p *places) belongs(addr string, is bool) {
	if is {
		delete(p.strange, addr)
		return
	}
	if len(p.strange) >= maxPlaces {
		clear(p.strange) // those that are still asked are heard again
	}
	p.strange[addr] = true
}

// learn takes where a node is.
func (p *places) learn(m timeline.Member) {
	known, ok := p.words[m.ID]
	if m.ID == 0 || m.PeerAddr == "" || ok && m.Starts < known.Starts || !ok && len(p.words) >= maxPlaces {
		return
	}
	p.words[m.ID] = timeline.Member{ID: m.ID, PeerAddr: m.PeerAddr, Starts: m.Starts}
}

// hear takes what a round has brought. Its leader knows who belongs to the region: the others are forgotten.
func (p *places) hear(r *Region) {
	for i := range r.Nodes {
		h := &r.Nodes[i]
		for _, m := range h.Members {
			p.learn(m)
		}
		p.learn(timeline.Member{ID: h.ID, PeerAddr: h.PeerAddr, Starts: h.Starts})
		if slices.Contains(p.configured, h.Asked) {
			p.ways[h.ID] = h.PeerAddr
		}
	}
	l := r.Leader()
	if l == nil || len(l.Members) == 0 {
		return
	}
	stranger := func(id uint64) bool {
		return id != l.ID && !slices.ContainsFunc(l.Members, func(m timeline.Member) bool { return m.ID == id })
	}
	maps.DeleteFunc(p.words, func(id uint64, _ timeline.Member) bool { return stranger(id) })
	maps.DeleteFunc(p.ways, func(id uint64, _ string) bool { return stranger(id) })
}

// addresses returns where to ask beside the configured addresses, in an order that stays.
func (p *places) addresses() []string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(p.words)) {
		addr := p.words[id].PeerAddr
		if p.ways[id] != addr && !slices.Contains(p.configured, addr) && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return list
}
