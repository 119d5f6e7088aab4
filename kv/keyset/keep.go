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
			one := &block{
				from: kept[n-1].from, keys: kept[n-1].keys + b.keys, series: merged([]*block{kept[n-1], b}),
				bound: b.bound,
			}
			one.bound.join(kept[n-1].bound)
			kept[n-1] = one
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

// Since returns the revision before which the index counts less than it could, for its memory; 0 if there is none. It
// is the keeper's.
func (x *Index) Since() int64 { return x.since }

// Fit makes the index smaller if it is above its budget: it lets go of the older half of its history, or, if that is
// the lesser part of it, makes blocks larger.
func (x *Index) Fit() {
	x.turn.Lock()
	now := x.upTo
	x.turn.Unlock()
	var s share
	if over := x.Bytes() - int64(x.budget); over <= 0 {
		return
	} else if s = x.share(); s.history <= x.budget/2 {
		x.widen()
		return
	}
	if len(s.firsts) > 0 {
		slices.Sort(s.firsts)
		x.letGo(s.firsts[len(s.firsts)/2])
	}
	if x.Bytes() > int64(x.budget) && x.share().history >= s.history { // it was too young
		x.letGo(now)
	}
}

// letGo forgets what is only needed below a revision, for good.
func (x *Index) letGo(rev int64) {
	x.since = max(x.since, rev)
	x.Forget(x.since)
}

// share is what an index takes its memory for.
type share struct {
	history int     // bytes
	firsts  []int64 // where the chunks of groups begin
	blocks  int
	keys    int // of the blocks
}

func (x *Index) share() (s share) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, g := range x.groups {
		s.history += g.series.bytes() - seriesOverhead
		for i := range g.chunks {
			s.firsts = append(s.firsts, g.chunks[i].first)
		}
		s.blocks += len(g.blocks)
		for _, b := range g.blocks {
			s.history += b.series.bytes() - seriesOverhead
			s.keys += b.keys + b.young
		}
	}
	return s
}

// widen doubles the keys of blocks.
func (x *Index) widen() {
	if x.limits.blockKeys >= maxBlockKeys {
		return
	}
	x.mu.Lock()
	x.limits.blockKeys *= 2
	x.mu.Unlock()
	x.Forget(0)
}

// narrowShare is the part of the budget that blocks may come to take again, history aside: with twice that Fit would
// rather widen them once more, and all keys would be looked at each time.
const narrowShare = 4

// Narrow makes blocks small again that Fit made larger, as far as there is memory for that, which there is when keys
// and history are gone. Those that are too wide then are looked at anew.
func (x *Index) Narrow() {
	if x.limits.blockKeys <= defaultLimits.blockKeys {
		return
	}
	s := x.share()
	each := (int(x.Bytes()) - s.history) / s.blocks
	keys := x.limits.blockKeys
	for keys > defaultLimits.blockKeys && s.history+max(s.blocks, s.keys/(keys/2))*each <= x.budget/narrowShare {
		keys /= 2
	}
	if keys == x.limits.blockKeys {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.limits.blockKeys = keys
	for _, g := range x.groups {
		for _, b := range g.blocks {
			x.queue(b)
		}
	}
}
