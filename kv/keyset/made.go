package keyset

// Part is an interval, and how young its keys are.
type Part struct {
	Interval
	// Made is a revision. None of the keys, as they are at the revision that was asked for, began to exist after it.
	Made int64
	// Block says that the part has no parts of its own, of which more is known.
	Block bool
}

// Made returns the parts of in, in order: the groups of blocks, or if in lies in one of those, its blocks. Parts of
// which nothing is known could have been made at rev.
func (x *Index) Made(in Interval, rev int64) (parts []Part) {
	if in.Bounded && in.To <= in.From {
		return nil
	}
	behind := func(key string) bool { return in.Bounded && key >= in.To }
	add := func(from string, b bound, block bool) {
		if n := len(parts); n > 0 {
			parts[n-1].To, parts[n-1].Bounded = from, true
		}
		made := rev
		if rev >= b.valid {
			made = min(rev, b.made)
		}
		parts = append(parts, Part{
			Interval: Interval{From: max(in.From, from), To: in.To, Bounded: in.Bounded}, Made: made, Block: block,
		})
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	first := x.groupOf(in.From)
	if last := first + 1; last < len(x.groups) && !behind(x.groups[last].blocks[0].from) {
		for i := first; i < len(x.groups) && !behind(x.groups[i].blocks[0].from); i++ {
			add(x.groups[i].blocks[0].from, x.groups[i].bound, false)
		}
		return parts
	}
	g := x.groups[first]
	for k := g.blockOf(in.From); k < len(g.blocks) && !behind(g.blocks[k].from); k++ {
		add(g.blocks[k].from, g.blocks[k].bound, true)
	}
	return parts
}
