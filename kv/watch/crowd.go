package watch

// crowd is watchers of the same keys. Each watcher is in one crowd at most and knows its place there, so that one more
// and one less cost the same however many there are.
type crowd []*Watcher

func (c *crowd) add(w *Watcher) {
	w.place = len(*c)
	*c = append(*c, w)
}

// remove takes w out, which is in there; the last one takes its place.
func (c *crowd) remove(w *Watcher) {
	list, last := *c, len(*c)-1
	list[w.place] = list[last]
	list[w.place].place = w.place
	list[last] = nil
	*c = list[:last]
}
