package keyset

import "slices"

// Edit makes a set from another. It ends with Set. It is used by one goroutine.
type Edit struct {
	root   *node
	number uint64
}

// Change begins an edit. Of the edits of one set only the set of one may be published.
func (s Set) Change() *Edit { return &Edit{root: s.root, number: s.edit + 1} }

// Set returns what the edit made, and ends it.
func (e *Edit) Set() Set { return Set{root: e.root, edit: e.number} }

// own returns n, or a copy if a published set may have it.
func (e *Edit) own(n *node) *node {
	if n.owner == e.number {
		return n
	}
	return &node{owner: e.number, count: n.count, keys: withRoom(n.keys), children: withRoom(n.children)}
}

// withRoom returns a copy of what a node has, nil of nil, with room for more.
func withRoom[T any](all []T) []T {
	if all == nil {
		return nil
	}
	return append(make([]T, 0, min(len(all)+maxNodeKeys/8, maxNodeKeys+1)), all...)
}

// Add puts key into the set; nothing changes if it is there.
func (e *Edit) Add(key string) {
	if e.root == nil {
		e.root = &node{owner: e.number}
	}
	root, right, from := e.insert(e.root, key)
	if e.root = root; right != nil {
		e.root = &node{
			owner: e.number, keys: []string{"", from}, children: []*node{root, right}, count: root.count + right.count,
		}
	}
}

// insert adds key under n. If that splits the node, right is the new neighbour, which begins at from.
func (e *Edit) insert(n *node, key string) (left, right *node, from string) {
	if n.children == nil {
		i := n.place(key)
		if i < len(n.keys) && n.keys[i] == key {
			return n, nil, ""
		}
		n = e.own(n)
		n.keys = slices.Insert(n.keys, i, key)
		n.count++
		return e.split(n, i)
	}
	n = e.own(n)
	i := n.childOf(key)
	before := n.children[i].count
	child, sibling, bound := e.insert(n.children[i], key)
	n.children[i] = child
	n.count += child.count - before
	if sibling == nil {
		return n, nil, ""
	}
	n.count += sibling.count
	n.keys = slices.Insert(n.keys, i+1, bound)
	n.children = slices.Insert(n.children, i+1, sibling)
	return e.split(n, i+1)
}

// split cuts an owned node that is too large: in the middle, or a leaf before what was put last, so that leaves that
// grow in order stay full.
func (e *Edit) split(n *node, added int) (left, right *node, from string) {
	if len(n.keys) <= maxNodeKeys {
		return n, nil, ""
	}
	cut := len(n.keys) / 2
	if n.children == nil && added == len(n.keys)-1 {
		cut = added
	}
	right = &node{owner: e.number, keys: withRoom(n.keys[cut:]), count: len(n.keys) - cut}
	clear(n.keys[cut:])
	n.keys = n.keys[:cut]
	if n.children != nil {
		right.children, right.count = withRoom(n.children[cut:]), 0
		clear(n.children[cut:])
		n.children = n.children[:cut]
		for _, c := range right.children {
			right.count += c.count
		}
	}
	n.count -= right.count
	return n, right, right.keys[0]
}

// Remove takes key out of the set; nothing changes if it is not there.
func (e *Edit) Remove(key string) {
	if e.root == nil {
		return
	}
	e.root = e.delete(e.root, key)
	for len(e.root.children) == 1 {
		e.root = e.root.children[0]
	}
}

func (e *Edit) delete(n *node, key string) *node {
	if n.children == nil {
		i := n.place(key)
		if i == len(n.keys) || n.keys[i] != key {
			return n
		}
		n = e.own(n)
		n.keys = slices.Delete(n.keys, i, i+1)
		n.count--
		return n
	}
	i := n.childOf(key)
	before := n.children[i]
	was := before.count
	child := e.delete(before, key)
	if child == before && child.count == was {
		return n
	}
	n = e.own(n)
	n.children[i] = child
	n.count += child.count - was
	if len(child.keys) < minNodeKeys && len(n.children) > 1 {
		e.join(n, min(i, len(n.children)-2))
	}
	return n
}

// join makes one node of the i-th child of n and the next, or two of equal size if that is too large.
func (e *Edit) join(n *node, i int) {
	left, right := e.own(n.children[i]), n.children[i+1]
	at := len(left.keys)
	left.keys = append(left.keys, right.keys...)
	left.children = append(left.children, right.children...)
	left.count += right.count
	if right.children != nil {
		left.keys[at] = n.keys[i+1]
	}
	left, right, from := e.split(left, 0)
	if n.children[i] = left; right != nil {
		n.keys[i+1], n.children[i+1] = from, right
		return
	}
	n.keys = slices.Delete(n.keys, i+1, i+2)
	n.children = slices.Delete(n.children, i+1, i+2)
}
