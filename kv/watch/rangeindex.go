package watch

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"

	"github.com/mimir-kv/mimir/kv/command"
)

// rangeIndex finds the watchers of intervals that hold a key. It is a search tree of the intervals, by their starts and
// then their ends, of which each node knows the greatest end below it; and a heap of weights that are drawn, which
// keeps it low, so that coming, going and finding take logarithmic time. Watchers of the same interval share a node.
type rangeIndex struct{ root *rangeNode }

type rangeNode struct {
	span        command.Span
	watchers    crowd
	weight      uint64 // no less than those of the nodes below
	left, right *rangeNode
	greatest    []byte // the greatest end in the tree under this node; empty for no end
}

func (x *rangeIndex) add(w *Watcher) {
	if n := x.find(w.span); n != nil {
		n.watchers.add(w)
		return
	}
	n := &rangeNode{span: w.span, weight: rand.Uint64()}
	n.watchers.add(w)
	x.root = x.root.insert(n)
}

func (x *rangeIndex) remove(w *Watcher) {
	n := x.find(w.span)
	if n.watchers.remove(w); len(n.watchers) == 0 {
		x.root = x.root.without(n.span)
	}
}

// find returns the node of an interval, nil if there is none.
func (x *rangeIndex) find(span command.Span) *rangeNode {
	n := x.root
	for n != nil {
		switch c := compareSpans(span, n.span); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n
		}
	}
	return nil
}

// visit calls f with each watcher whose interval holds key.
func (x *rangeIndex) visit(key []byte, f func(w *Watcher)) { x.root.visit(key, f) }

func (n *rangeNode) visit(key []byte, f func(w *Watcher)) {
	if n == nil || len(n.greatest) > 0 && bytes.Compare(n.greatest, key) <= 0 {
		return
	}
	n.left.visit(key, f)
	if bytes.Compare(n.span.Start, key) > 0 {
		return
	}
	if n.span.Contains(key) {
		for _, w := range n.watchers {
			f(w)
		}
	}
	n.right.visit(key, f)
}

// insert returns the tree with a node more, whose interval it does not have.
func (n *rangeNode) insert(fresh *rangeNode) *rangeNode {
	switch {
	case n == nil:
		return fresh.measured()
	case fresh.weight > n.weight:
		fresh.left, fresh.right = n.split(fresh.span)
		return fresh.measured()
	case compareSpans(fresh.span, n.span) < 0:
		n.left = n.left.insert(fresh)
	default:
		n.right = n.right.insert(fresh)
	}
	return n.measured()
}

// split returns what of the tree lies before an interval, and what after it.
func (n *rangeNode) split(at command.Span) (before, after *rangeNode) {
	if n == nil {
		return nil, nil
	}
	if compareSpans(n.span, at) < 0 {
		n.right, after = n.right.split(at)
		return n.measured(), after
	}
	before, n.left = n.left.split(at)
	return before, n.measured()
}

// without returns the tree without the node of an interval, which it has.
func (n *rangeNode) without(span command.Span) *rangeNode {
	switch c := compareSpans(span, n.span); {
	case c < 0:
		n.left = n.left.without(span)
	case c > 0:
		n.right = n.right.without(span)
	default:
		return join(n.left, n.right)
	}
	return n.measured()
}

// join returns a tree of two, of which one lies before the other.
func join(before, after *rangeNode) *rangeNode {
	switch {
	case before == nil:
		return after
	case after == nil:
		return before
	case before.weight > after.weight:
		before.right = join(before.right, after)
		return before.measured()
	}
	after.left = join(before, after.left)
	return after.measured()
}

// measured sets the greatest end from what is right below, and returns n.
func (n *rangeNode) measured() *rangeNode {
	n.greatest = n.span.End
	for _, below := range []*rangeNode{n.left, n.right} {
		if below != nil && compareEnds(below.greatest, n.greatest) > 0 {
			n.greatest = below.greatest
		}
	}
	return n
}

func compareSpans(a, b command.Span) int {
	return cmp.Or(bytes.Compare(a.Start, b.Start), compareEnds(a.End, b.End))
}

// compareEnds compares the ends of intervals, of which an empty one is after all others.
func compareEnds(a, b []byte) int {
	if len(a) == 0 || len(b) == 0 {
		return cmp.Compare(len(b), len(a)) // the empty one is the greater; two of them are equal
	}
	return bytes.Compare(a, b)
}

// all calls f with each node of the tree, in order, with its depth.
func (n *rangeNode) all(depth int, f func(n *rangeNode, depth int)) {
	if n != nil {
		n.left.all(depth+1, f)
		f(n, depth)
		n.right.all(depth+1, f)
	}
}

// valid checks what the tree promises of a node and what is right below it.
func (n *rangeNode) valid() error {
	greatest := n.greatest
	if n.measured(); compareEnds(greatest, n.greatest) != 0 || len(n.watchers) == 0 ||
		n.left != nil && (n.left.weight > n.weight || compareSpans(n.left.span, n.span) >= 0) ||
		n.right != nil && (n.right.weight > n.weight || compareSpans(n.right.span, n.span) <= 0) {
		return fmt.Errorf("the interval %q, %q lies wrong in the tree", n.span.Start, n.span.End)
	}
	return nil
}
