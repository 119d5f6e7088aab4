package fleet

import (
	"maps"
	"slices"
)

// SameLife reports whether a region that was formed with the disks a, by Raft identity, is of the same life as one that
// was formed with the disks b: one of them is in both.
func SameLife(a, b map[uint64]string) bool {
	for node, disk := range a {
		if b[node] == disk {
			return true
		}
	}
	return false
}

// life is the nodes that say of how the region was formed what goes together.
type life struct {
	formed map[uint64]string
	nodes  []*Heard
}

// Separate has those alone speak for the region that are of its life, where nodes answer that are of several: one that
// lost its disk, and was started with a file that names no other node, formed a region of the same name by itself. Who
// does not say how the region was formed is heard. known is how it was, by what was heard before; nil: nothing was.
//
// The region's life is the one of which most nodes answer; of two with as many, the one whose configuration has nodes
// of the other, and is in no configuration of that: who forms a region alone names nobody else; then the one that is
// known. Positions and epochs do not tell: who formed a region anew follows the primary, and may be further. If none is
// the region's by that, it is Torn.
func (r *Region) Separate(known map[uint64]string) {
	all := slices.Concat(r.Nodes, r.Strange)
	lives := livesOf(all)
	r.Nodes, r.Strange, r.Life, r.Torn = all, nil, known, false
	if len(lives) == 0 {
		return
	}
	i := slices.IndexFunc(lives, func(l *life) bool {
		return !slices.ContainsFunc(lives, func(o *life) bool { return o != l && !l.before(o, known) })
	})
	if r.Torn = i < 0; r.Torn {
		return
	}
	r.Life, r.Nodes = lives[i].formed, nil
	for _, h := range all {
		if len(h.Formed) == 0 || SameLife(h.Formed, r.Life) {
			r.Nodes = append(r.Nodes, h)
		} else {
			r.Strange = append(r.Strange, h)
		}
	}
}

// livesOf returns the lives of which nodes say that they are.
func livesOf(nodes []Heard) (lives []*life) {
	for i := range nodes {
		h := &nodes[i]
		if len(h.Formed) == 0 {
			continue
		}
		at := slices.IndexFunc(lives, func(l *life) bool { return SameLife(l.formed, h.Formed) })
		if at < 0 {
			at, lives = len(lives), append(lives, &life{formed: maps.Clone(h.Formed)})
		}
		lives[at].nodes = append(lives[at].nodes, h)
	}
	return lives
}

// before reports whether l is the region's life rather than o.
func (l *life) before(o *life, known map[uint64]string) bool {
	switch {
	case len(l.nodes) != len(o.nodes):
		return len(l.nodes) > len(o.nodes)
	case l.names(o) != o.names(l):
		return l.names(o)
	default:
		return SameLife(l.formed, known)
	}
}

// names reports whether a node of l has one of o in its configuration.
func (l *life) names(o *life) bool {
	return slices.ContainsFunc(l.nodes, func(h *Heard) bool {
		return slices.ContainsFunc(h.Nodes, func(n Node) bool {
			return slices.ContainsFunc(o.nodes, func(x *Heard) bool { return x.ID == n.ID })
		})
	})
}
