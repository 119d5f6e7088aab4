package keyset

// Young returns the next interval within in that may have keys which, as they are at revision rev, were changed at
// revision mod or later and began to exist at revision create or later. ok is false if there is none: all other keys
// are older.
func (x *Index) Young(in Interval, rev, mod, create int64) (part Interval, ok bool) {
	if in.Bounded && in.To <= in.From {
		return Interval{}, false
	}
	y := youth{in: in, rev: rev, mod: mod, create: create}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := x.groupOf(in.From); i < len(x.groups) && !y.done; i++ {
		y.group(x.groups[i])
	}
	return y.part, y.found
}

// youth is a search for young keys under way.
type youth struct {
	in               Interval
	rev, mod, create int64

	part        Interval
	found, done bool
}

// old reports whether none of what s and b are of is young, or none exists.
func (y *youth) old(s *series, b bound) bool {
	if y.rev >= b.valid && (b.newest < y.mod || b.made < y.create) {
		return true
	}
	n, ok := s.at(y.rev)
	return ok && n == 0
}

func (y *youth) group(g *group) {
	if first := g.blocks[0].from; y.old(&g.series, g.bound) || y.behind(first) {
		y.ends(first)
		return
	}
	for k := g.blockOf(max(y.in.From, g.blocks[0].from)); k < len(g.blocks) && !y.done; k++ {
		if b := g.blocks[k]; y.old(&b.series, b.bound) || y.behind(b.from) {
			y.ends(b.from)
		} else if !y.found {
			y.part, y.found = Interval{From: max(y.in.From, b.from), To: y.in.To, Bounded: y.in.Bounded}, true
		}
	}
}

// behind reports whether key and all after it are none of the interval.
func (y *youth) behind(key string) bool { return y.in.Bounded && key >= y.in.To }

// ends is told that what begins at from is old or behind the interval: what was found ends there.
func (y *youth) ends(from string) {
	behind := y.behind(from)
	if y.found && !behind {
		y.part.To, y.part.Bounded = from, true
	}
	y.done = y.found || behind
}
