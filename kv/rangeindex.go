package kv

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// rangeIndex finds the watchers of intervals that hold a key, in logarithmic time: an interval tree laid over a sorted
// slice, which is sorted again after changes when it is next searched. Watchers of the same interval share an entry.
type rangeIndex struct {
	byRange map[string]*rangeEntry
	sorted  []*rangeEntry
	stale   bool
}

type rangeEntry struct {
	span     span
	watchers []*Watcher
	// greatest is the greatest end in the subtree under this entry.
	greatest span
}

func rangeName(s span) string {
	return string(append(append(binary.AppendUvarint(nil, uint64(len(s.start))), s.start...), s.end...))
}

func (x *rangeIndex) add(w *Watcher) {
	if x.byRange == nil {
		x.byRange = map[string]*rangeEntry{}
	}
	name := rangeName(w.span)
	e := x.byRange[name]
	if e == nil {
		e = &rangeEntry{span: w.span}
		x.byRange[name] = e
		x.stale = true
	}
	e.watchers = append(e.watchers, w)
}

func (x *rangeIndex) remove(w *Watcher) {
	name := rangeName(w.span)
	e := x.byRange[name]
	if e.watchers = without(e.watchers, w); len(e.watchers) == 0 {
		delete(x.byRange, name)
		x.stale = true
	}
}

// visit calls f with each watcher whose interval holds key.
func (x *rangeIndex) visit(key []byte, f func(w *Watcher)) {
	if x.stale {
		x.sorted = x.sorted[:0]
		for _, e := range x.byRange {
			x.sorted = append(x.sorted, e)
		}
		slices.SortFunc(x.sorted, func(a, b *rangeEntry) int { return bytes.Compare(a.span.start, b.span.start) })
		measure(x.sorted)
		x.stale = false
	}
	stab(x.sorted, key, f)
}

// measure sets greatest in the tree over entries, whose root is the middle one, and returns it.
func measure(entries []*rangeEntry) span {
	if len(entries) == 0 {
		return span{end: nil}
	}
	middle := len(entries) / 2
	root := entries[middle]
	root.greatest = root.span
	for _, side := range [][]*rangeEntry{entries[:middle], entries[middle+1:]} {
		if g := measure(side); g.end != nil && endsAfter(g, root.greatest) {
			root.greatest = g
		}
	}
	return root.greatest
}

func endsAfter(a, b span) bool {
	if len(b.end) == 0 {
		return false
	}
	return len(a.end) == 0 || bytes.Compare(a.end, b.end) > 0
}

func stab(entries []*rangeEntry, key []byte, f func(w *Watcher)) {
	if len(entries) == 0 {
		return
	}
	middle := len(entries) / 2
	root := entries[middle]
	if g := root.greatest; len(g.end) > 0 && bytes.Compare(g.end, key) <= 0 {
		return
	}
	stab(entries[:middle], key, f)
	if bytes.Compare(root.span.start, key) > 0 {
		return
	}
	if root.span.contains(key) {
		for _, w := range root.watchers {
			f(w)
		}
	}
	stab(entries[middle+1:], key, f)
}
