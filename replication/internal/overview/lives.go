package overview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// isStrange reports whether the node with this Raft identity answered, and is of another life of the region.
func isStrange(r *fleet.Region, id uint64) bool {
	return slices.ContainsFunc(r.Strange, func(h fleet.Heard) bool { return h.ID == id })
}

// otherLives says which nodes of a region are of another life of it, and the way out.
func otherLives(r *fleet.Region) (list []string) {
	const wayOut = "stop it, put the same nodes into its file as into theirs, move its data directory away, and " +
		"replace the node"
	for i := range r.Strange {
		h := &r.Strange[i]
		text := fmt.Sprintf("WRONG: %s is of another life of this region, which was formed without those that speak "+
			"for it here, and is not heard", h.Node)
		if h.Writes() {
			text += "; it takes writes, which no other node has: keep clients away from it"
		}
		list = append(list, text+": "+wayOut)
	}
	if r.Torn {
		list = append(list, fmt.Sprintf("WRONG: the nodes that answer are of different lives of this region (%s), and "+
			"which is the region's own is not known: stop those whose file does not name the others",
			strings.Join(namesByLife(r), " / ")))
	}
	return list
}

// namesByLife returns the nodes that answered and say how the region was formed, those of one life together.
func namesByLife(r *fleet.Region) (groups []string) {
	var lives []map[uint64]string
	for i := range r.Nodes {
		h := &r.Nodes[i]
		if len(h.Formed) == 0 {
			continue
		}
		at := slices.IndexFunc(lives, func(l map[uint64]string) bool { return fleet.SameLife(l, h.Formed) })
		if at < 0 {
			lives, groups = append(lives, h.Formed), append(groups, h.Node)
			continue
		}
		groups[at] += ", " + h.Node
	}
	return groups
}
