package kv

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// keySet is the ordered set of the keys that exist at one revision, which counts those of an interval in logarithmic time. It is a
// B+-tree whose nodes know how many keys are under them. It never changes once published: an edit copies the nodes it touches, so
// that whoever holds a set counts at its revision for ever. The zero value is the empty set.
type keySet struct {
	root *keyNode
	edit uint64 // the edit that made it
}

// loadKeys reads the keys that exist at revision rev; nil if they are more than limit.
func loadKeys(r pebble.Reader, rev int64, limit int) (*keySet, error) {
	if limit <= 0 {
		return nil, nil
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{tableKeys}, UpperBound: []byte{tableKeys + 1}})
	if err != nil {
		return nil, err
	}
	edit := keySet{}.change()
	count, err := scanVersions(context.Background(), it, rev, int64(limit)+1, func(key []byte, _ *version) error {
		edit.add(string(key))
		if edit.root.count > limit {
			return errEnough
		}
		return nil
	})
	if err = closeAfter(it, err); errors.Is(err, errEnough) || err == nil && count > int64(limit) {
		return nil, nil
	}
	keys := edit.set()
	return &keys, err
}

// Bounds of a node.
const (
	maxNodeKeys = 64
	minNodeKeys = maxNodeKeys / 4
)

// keyNode is a leaf, or an inner node whose keys are lower bounds of what is under its children. The first of them
// bounds nothing.
type keyNode struct {
	owner    uint64 // the edit that may change it in place
	keys     []string
	children []*keyNode // nil in a leaf
	count    int        // keys in all leaves under it
}

func (s keySet) len() int {
	if s.root == nil {
		return 0
	}
	return s.root.count
}

// count returns how many keys of the set are in sp.
func (s keySet) count(sp span) int64 {
	upTo := s.len()
	switch {
	case sp.single():
		upTo = s.rank(append(bytes.Clone(sp.start), 0)) // the next key
	case len(sp.end) > 0:
		upTo = s.rank(sp.end)
	}
	return int64(max(0, upTo-s.rank(sp.start)))
}

// rank returns how many keys of the set are below key.
func (s keySet) rank(end []byte) (below int) {
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
func (n *keyNode) place(key string) int {
	return sort.Search(len(n.keys), func(i int) bool { return n.keys[i] >= key })
}

// childOf returns which child of an inner node key belongs to.
func (n *keyNode) childOf(key string) int {
	return sort.Search(len(n.keys)-1, func(i int) bool { return n.keys[i+1] > key })
}

// keySetEdit makes a set from another. It ends with the publication of what it made. Of the edits of one set only one may be published.
type keySetEdit struct {
	root   *keyNode
	number uint64
}

func (s keySet) change() *keySetEdit { return &keySetEdit{root: s.root, number: s.edit + 1} }

func (e *keySetEdit) set() keySet { return keySet{root: e.root, edit: e.number} }

// own returns n, or a copy if a published set may have it.
func (e *keySetEdit) own(n *keyNode) *keyNode {
	if n.owner == e.number {
		return n
	}
	return &keyNode{owner: e.number, count: n.count, keys: withRoom(n.keys), children: withRoom(n.children)}
}

// withRoom returns a copy of what a node has, nil of nil, with room for more.
func withRoom[T any](all []T) []T {
	if all == nil {
		return nil
	}
	return append(make([]T, 0, min(len(all)+maxNodeKeys/8, maxNodeKeys+1)), all...)
}

// add puts key into the set; nothing changes if it is there.
func (e *keySetEdit) add(key string) {
	if e.root == nil {
		e.root = &keyNode{owner: e.number}
	}
	root, right, from := e.insert(e.root, key)
	if e.root = root; right != nil {
		e.root = &keyNode{
			owner: e.number, keys: []string{"", from}, children: []*keyNode{root, right}, count: root.count + right.count,
		}
	}
}

// insert adds key under n. If that splits the node, right is the new neighbour, which begins at from.
func (e *keySetEdit) insert(n *keyNode, key string) (left, right *keyNode, from string) {
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

// split cuts an owned node that is too large: in the middle, or a leaf before what was put last, so that leaves that grow in order
// stay full.
func (e *keySetEdit) split(n *keyNode, added int) (left, right *keyNode, from string) {
	if len(n.keys) <= maxNodeKeys {
		return n, nil, ""
	}
	cut := len(n.keys) / 2
	if n.children == nil && added == len(n.keys)-1 {
		cut = added
	}
	right = &keyNode{owner: e.number, keys: withRoom(n.keys[cut:]), count: len(n.keys) - cut}
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

// remove takes key out of the set; nothing changes if it is not there.
func (e *keySetEdit) remove(key string) {
	if e.root == nil {
		return
	}
	e.root = e.delete(e.root, key)
	for e.root.children != nil && len(e.root.children) == 1 {
		e.root = e.root.children[0]
	}
}

func (e *keySetEdit) delete(n *keyNode, key string) *keyNode {
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
func (e *keySetEdit) join(n *keyNode, i int) {
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
