package keyset

import "slices"

// Forget lets go of what is only needed at revisions below rev, and joins blocks that became small.
func (x *Index) Forget(rev int64) {
	for i := 0; ; i++ {
		x.turn.Lock()
		x.mu.Lock()
		done := i >= len(x.groups)
		if !done {
			x.shrink(i, rev)
		}
		for !done && x.joinable(i) {
			x.join(i)
		}
		x.mu.Unlock()
		x.turn.Unlock()
		if done {
			return
		}
	}
}

// shrink forgets in the i-th group, and joins its small blocks.
func (x *Index) shrink(i int, rev int64) {
	g := x.groups[i]
	x.bytes -= g.forget(rev)
	kept := g.blocks[:0]
	for _, b := range g.blocks {
		x.bytes -= b.forget(rev)
		if b.known() && !b.queued {
			b.keys, b.young = min(b.keys+b.young, int(b.count)+len(b.after(b.since, nil))), 0
		}
		if n := len(kept); n > 0 && x.small(kept[n-1], b) {
			x.bytes -= kept[n-1].size() + b.size()
			kept[n-1] = &block{
				from: kept[n-1].from, keys: kept[n-1].keys + b.keys, series: merged([]*block{kept[n-1], b}),
			}
			x.bytes += kept[n-1].size()
			continue
		}
		kept = append(kept, b)
	}
	clear(g.blocks[len(kept):])
	g.blocks = kept
}

// small reports whether two blocks may be one.
func (x *Index) small(a, b *block) bool {
	return a.known() && b.known() && !a.queued && !b.queued && a.keys+b.keys <= x.limits.blockKeys
}

// joinable reports whether the i-th group and the next may be one.
func (x *Index) joinable(i int) bool {
	if i+1 >= len(x.groups) {
		return false
	}
	a, b := x.groups[i], x.groups[i+1]
	return len(a.blocks)+len(b.blocks) <= x.limits.groupBlocks/2 && a.allKnown() && b.allKnown()
}

// allKnown reports whether all blocks of a group are known.
func (g *group) allKnown() bool {
	return !slices.ContainsFunc(g.blocks, func(b *block) bool { return !b.known() })
}

func (x *Index) join(i int) {
	a, b := x.groups[i], x.groups[i+1]
	x.bytes -= a.series.bytes() + b.series.bytes()
	x.groups = slices.Replace(x.groups, i, i+2, x.newGroup(slices.Concat(a.blocks, b.blocks)))
}

// Fit makes the index smaller if it is above its budget: it lets go of the older half of its history, or, if that is
// the lesser part of it, makes blocks larger. It returns the revision below which it now knows less than before, 0 if
// there is none.
func (x *Index) Fit() (forgotten int64) {
	x.mu.RLock()
	over, history := x.bytes > x.budget, 0
	var firsts []int64
	if over {
		for _, g := range x.groups {
			history += g.series.bytes() - seriesOverhead
			for i := range g.chunks {
				firsts = append(firsts, g.chunks[i].first)
			}
			for _, b := range g.blocks {
				history += b.series.bytes() - seriesOverhead
			}
		}
	}
	x.mu.RUnlock()
	switch {
	case !over:
		return 0
	case history > x.budget/2 && len(firsts) > 0:
		slices.Sort(firsts)
		forgotten = firsts[len(firsts)/2]
		x.Forget(forgotten)
		return forgotten
	}
	x.mu.Lock()
	x.limits.blockKeys = min(2*x.limits.blockKeys, maxBlockKeys)
	x.mu.Unlock()
	x.Forget(0)
	return 0
}
