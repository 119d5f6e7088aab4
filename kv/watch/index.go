package watch

import (
	"errors"
	"fmt"
)

// index finds watchers by key. The zero value is empty.
type index struct {
	all    map[*Watcher]struct{}
	points map[string]*crowd // of single keys
	ranges rangeIndex
	// withPrevious counts the watchers that want previous key-values.
	withPrevious int
}

func (x *index) add(w *Watcher) {
	if x.all == nil {
		x.all, x.points = map[*Watcher]struct{}{}, map[string]*crowd{}
	}
	x.all[w] = struct{}{}
	if w.span.Single() {
		c := x.points[string(w.span.Start)]
		if c == nil {
			c = new(crowd)
			x.points[string(w.span.Start)] = c
		}
		c.add(w)
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
		c := x.points[string(w.span.Start)]
		if c.remove(w); len(*c) == 0 {
			delete(x.points, string(w.span.Start))
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
	if c := x.points[string(key)]; c != nil {
		for _, w := range *c {
			f(w)
		}
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
	see := func(c crowd, belongs func(w *Watcher) bool) error {
		for i, w := range c {
			if found[w]++; !belongs(w) || w.place != i {
				return fmt.Errorf("a watcher of %q, %q stands where it does not belong", w.span.Start, w.span.End)
			}
		}
		return nil
	}
	var errs []error
	for key, c := range x.points {
		errs = append(errs, see(*c, func(w *Watcher) bool { return w.span.Single() && string(w.span.Start) == key }))
	}
	x.ranges.root.all(0, func(n *rangeNode, _ int) {
		errs = append(errs, n.valid(), see(n.watchers, func(w *Watcher) bool {
			return !w.span.Single() && compareSpans(w.span, n.span) == 0
		}))
	})
	if err := errors.Join(errs...); err != nil {
		return err
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
