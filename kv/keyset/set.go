package keyset

import "sort"

// Set is the keys that exist at one revision (K1 to K4). The zero value is the empty set.
type Set struct {
	root *node
	edit uint64 // the edit that made it
}

// Bounds of a node.
const (
	maxNodeKeys = 64
	minNodeKeys = maxNodeKeys / 4
)

// node is a leaf, or an inner node whose keys are lower bounds of what is under its children. The first of them
// bounds nothing.
type node struct {
	owner    uint64 // the edit that may change it in place
	keys     []string
	children []*node // nil in a leaf
	count    int     // keys in all leaves under it
}

// Len returns how many keys there are.
func (s Set) Len() int {
	if s.root == nil {
		return 0
	}
	return s.root.count
}

// Count returns how many keys of the set are from from on and before to. A nil to is no bound.
func (s Set) Count(from, to []byte) int64 {
	upTo := s.Len()
	if to != nil {
		upTo = s.rank(to)
	}
	return int64(max(0, upTo-s.rank(from)))
}

// rank returns how many keys of the set are below end.
func (s Set) rank(end []byte) (below int) {
	key := string(end)
	n := s.root
	if n == nil {
		return 0
	}
	for n.children != nil {
		i := n.childOf(key)
		for _, before := range n.children[:i] {
			below += before.count
		}
		n = n.children[i]
	}
	return below + n.place(key)
}

// place returns how many keys of the node itself are below key.
func (n *node) place(key string) int {
	return sort.Search(len(n.keys), func(i int) bool { return n.keys[i] >= key })
}

// childOf returns which child of an inner node key belongs to.
func (n *node) childOf(key string) int {
	return sort.Search(len(n.keys)-1, func(i int) bool { return n.keys[i+1] > key })
}
