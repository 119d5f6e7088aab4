package watch

import "fmt"

// index finds watchers by key. The zero value is empty.
type index struct {
	all    map[*Watcher]struct{}
	points map[string][]*Watcher // of single keys
	ranges rangeIndex
	// withPrevious counts the watchers that want previous key-values.
	withPrevious int
}

func (x *index) add(w *Watcher) {
	if x.all == nil {
		x.all, x.points = map[*Watcher]struct{}{}, map[string][]*Watcher{}
	}
	x.all[w] = struct{}{}
	if w.span.Single() {
		key := string(w.span.Start)
		x.points[key] = append(x.points[key], w)
	} else {
		x.ranges.add(w)
	}
	if w.request.PrevKV {
		x.withPrevious++
	}
}

// remove takes w out; nothing changes if it is not there.
func (x *index) remove(w *Watcher) {
	if _, ok := x.all[w]; !ok {
		return
	}
	delete(x.all, w)
	if w.span.Single() {
		key := string(w.span.Start)
		rest := without(x.points[key], w)
		if x.points[key] = rest; len(rest) == 0 {
			delete(x.points, key)
		}
	} else {
		x.ranges.remove(w)
	}
	if w.request.PrevKV {
		x.withPrevious--
	}
}

// visit calls f with each watcher of key.
func (x *index) visit(key []byte, f func(w *Watcher)) {
	for _, w := range x.points[string(key)] {
		f(w)
	}
	x.ranges.visit(key, f)
}

// level is what the most demanding watcher wants.
func (x *index) level() Level {
	switch {
	case x.withPrevious > 0:
		return EventsWithPrevious
	case len(x.all) > 0:
		return Events
	}
	return Nothing
}

// valid checks W4.
func (x *index) valid() error {
	found, previous := map[*Watcher]int{}, 0
	for key, list := range x.points {
		for _, w := range list {
			if found[w]++; !w.span.Single() || string(w.span.Start) != key {
				return fmt.Errorf("a watcher of %q, %q stands under the key %q", w.span.Start, w.span.End, key)
			}
		}
	}
	for name, e := range x.ranges.byRange {
		for _, w := range e.watchers {
			if found[w]++; w.span.Single() || rangeName(w.span) != name {
				return fmt.Errorf("a watcher of %q, %q stands under another interval", w.span.Start, w.span.End)
			}
		}
	}
	for w, times := range found {
		if _, ok := x.all[w]; !ok || times != 1 {
			return fmt.Errorf("a watcher of %q, %q is found %d times", w.span.Start, w.span.End, times)
		}
		if w.request.PrevKV {
			previous++
		}
	}
	if len(found) != len(x.all) || previous != x.withPrevious {
		return fmt.Errorf("%d of %d watchers are found; %d of %d want previous values",
			len(found), len(x.all), previous, x.withPrevious)
	}
	return nil
}
