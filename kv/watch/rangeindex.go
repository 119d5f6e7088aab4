package watch

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/mimir-kv/mimir/kv/command"
)

// rangeIndex finds the watchers of intervals that hold a key, in logarithmic time: an interval tree laid over a sorted
// slice, which is sorted again after changes when it is next searched. Watchers of the same interval share an entry.
type rangeIndex struct {
	byRange map[string]*rangeEntry
	sorted  []*rangeEntry
	stale   bool
}

type rangeEntry struct {
	span     command.Span
	watchers []*Watcher
	// greatest is the greatest end in the subtree under this entry.
	greatest command.Span
}

func rangeName(s command.Span) string {
	return string(append(append(binary.AppendUvarint(nil, uint64(len(s.Start))), s.Start...), s.End...))
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
		slices.SortFunc(x.sorted, func(a, b *rangeEntry) int { return bytes.Compare(a.span.Start, b.span.Start) })
		measure(x.sorted)
		x.stale = false
	}
	stab(x.sorted, key, f)
}

// measure sets greatest in the tree over entries, whose root is the middle one, and returns it.
func measure(entries []*rangeEntry) command.Span {
	if len(entries) == 0 {
		return command.Span{}
	}
	middle := len(entries) / 2
	root := entries[middle]
	root.greatest = root.span
	for _, side := range [][]*rangeEntry{entries[:middle], entries[middle+1:]} {
		if g := measure(side); g.End != nil && endsAfter(g, root.greatest) {
			root.greatest = g
		}
	}
	return root.greatest
}

func endsAfter(a, b command.Span) bool {
	if len(b.End) == 0 {
		return false
	}
	return len(a.End) == 0 || bytes.Compare(a.End, b.End) > 0
}

func stab(entries []*rangeEntry, key []byte, f func(w *Watcher)) {
	if len(entries) == 0 {
		return
	}
	middle := len(entries) / 2
	root := entries[middle]
	if g := root.greatest; len(g.End) > 0 && bytes.Compare(g.End, key) <= 0 {
		return
	}
	stab(entries[:middle], key, f)
	if bytes.Compare(root.span.Start, key) > 0 {
		return
	}
	if root.span.Contains(key) {
		for _, w := range root.watchers {
			f(w)
		}
	}
	stab(entries[middle+1:], key, f)
}

func without(list []*Watcher, w *Watcher) []*Watcher {
	i := slices.Index(list, w)
	last := len(list) - 1
	list[i], list[last] = list[last], nil
	return list[:last]
}
