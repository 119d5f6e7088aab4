package keyset

import (
	"fmt"
	"slices"
)

// valid checks K1 to K3 in all of the set, and of K4 that nothing in it belongs to an edit after it.
func (s Set) valid() error {
	if s.root == nil {
		return nil
	}
	_, err := s.validNode(s.root, nil, nil)
	return err
}

// validNode checks what is under n, all of which lies from from on and before to, nil for no bound, and returns its
// depth.
func (s Set) validNode(n *node, from, to *string) (depth int, err error) {
	switch {
	case n.owner > s.edit:
		return 0, fmt.Errorf("edit %d has a node of edit %d", s.edit, n.owner)
	case len(n.keys) > maxNodeKeys || n != s.root && len(n.keys) == 0:
		return 0, fmt.Errorf("a node of %d keys", len(n.keys))
	case n.children == nil:
		return 1, n.validLeaf(from, to)
	case len(n.children) != len(n.keys) || !slices.IsSorted(n.keys[1:]):
		return 0, fmt.Errorf("bounds %q of %d children", n.keys, len(n.children))
	}
	sum := 0
	for i, c := range n.children {
		lower, upper := from, to
		if i > 0 {
			lower = &n.keys[i]
		}
		if i+1 < len(n.keys) {
			upper = &n.keys[i+1]
		}
		below, err := s.validNode(c, lower, upper)
		if err != nil {
			return 0, err
		}
		if i > 0 && below != depth {
			return 0, fmt.Errorf("leaves at depths %d and %d", depth, below)
		}
		depth, sum = below, sum+c.count
	}
	if sum != n.count {
		return 0, fmt.Errorf("a node counts %d, its children %d", n.count, sum)
	}
	return depth + 1, nil
}

func (n *node) validLeaf(from, to *string) error {
	switch {
	case n.count != len(n.keys) || len(slices.Compact(slices.Clone(n.keys))) != len(n.keys) || !slices.IsSorted(n.keys):
		return fmt.Errorf("a leaf of %d keys counts %d: %q", len(n.keys), n.count, n.keys)
	case n.count == 0:
		return nil
	case from != nil && n.keys[0] < *from || to != nil && n.keys[len(n.keys)-1] >= *to:
		return fmt.Errorf("a leaf is out of bounds: %q", n.keys)
	}
	return nil
}
