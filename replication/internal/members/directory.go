package members

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/mimir-kv/mimir/replication/internal/region"
)

// RaftID derives a node's Raft identity from its names. A node that lost its disk comes back under another name.
func RaftID(region, node string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", region, node)
	return max(h.Sum64(), 1)
}

// Directory finds the nodes of this region: as they described themselves to it, or else as this node's configuration
// says. It is safe for concurrent use.
type Directory struct {
	region  string
	self    uint64
	nodes   map[string]string // configured: name to peer address
	applied *region.Applied
	leader  func() uint64 // Raft identity, zero if none is known
}

// NewDirectory returns the directory of the node self in the region of this name. nodes are the configured ones, name
// to peer address; leader returns the Raft identity of the region's leader, zero while none is known.
func NewDirectory(
	name string, self uint64, nodes map[string]string, applied *region.Applied, leader func() uint64,
) *Directory {
	return &Directory{region: name, self: self, nodes: nodes, applied: applied, leader: leader}
}

// Addr returns where a member is reached.
func (d *Directory) Addr(id uint64) (string, bool) {
	for _, m := range d.applied.State().Members {
		if m.ID == id && m.PeerAddr != "" {
			return m.PeerAddr, true
		}
	}
	for name, addr := range d.nodes {
		if RaftID(d.region, name) == id {
			return addr, true
		}
	}
	return "", false
}

// Name returns a member's name, "" if nobody said it.
func (d *Directory) Name(id uint64) string {
	for _, m := range d.applied.State().Members {
		if m.ID == id {
			return m.Name
		}
	}
	for name := range d.nodes {
		if RaftID(d.region, name) == id {
			return name
		}
	}
	return ""
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
	for _, m := range d.applied.State().Members {
		if m.ID != d.self && m.PeerAddr != "" {
			list = append(list, m.PeerAddr)
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
		if RaftID(d.region, name) != d.self {
			list = append(list, d.nodes[name])
		}
	}
	return list
}
