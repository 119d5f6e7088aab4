package keyset

// Interval is the keys from From on and before To; if it is not Bounded, all from From on.
type Interval struct {
	From, To string
	Bounded  bool
}

// Count returns how many of the keys of an interval existed at revision rev, but for those of rest: these have to be
// counted elsewhere. They are in order, and apart. Revisions that were not added yet count as the last.
func (x *Index) Count(in Interval, rev int64) (known int64, rest []Interval) {
	if in.Bounded && in.To <= in.From {
		return 0, nil
	}
	c := counting{Interval: in, rev: rev}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := x.groupOf(in.From); i < len(x.groups); i++ {
		g := x.groups[i]
		own := Interval{From: g.blocks[0].from}
		if i+1 < len(x.groups) {
			own.To, own.Bounded = x.groups[i+1].blocks[0].from, true
		}
		if c.behind(own.From) {
			break
		}
		if !c.whole(own, &g.series) {
			c.group(g, own)
		}
	}
	return c.known, c.rest
}

// counting is a count under way.
type counting struct {
	Interval
	rev   int64
	known int64
	rest  []Interval
}

// behind reports whether key and all after it are none of the interval.
func (c *counting) behind(key string) bool { return c.Bounded && key >= c.To }

// whole counts what s is of, if the interval has all of it and it is known.
func (c *counting) whole(of Interval, s *series) bool {
	if of.From < c.From || c.Bounded && (!of.Bounded || of.To > c.To) {
		return false
	}
	n, ok := s.at(c.rev)
	c.known += n
	return ok
}

// group counts the part of the interval that is in a group.
func (c *counting) group(g *group, own Interval) {
	for i := g.blockOf(max(c.From, own.From)); i < len(g.blocks); i++ {
		b := g.blocks[i]
		of := Interval{From: b.from, To: own.To, Bounded: own.Bounded}
		if i+1 < len(g.blocks) {
			of.To, of.Bounded = g.blocks[i+1].from, true
		}
		if c.behind(of.From) {
			return
		}
		if !c.whole(of, &b.series) {
			c.leave(of)
		}
	}
}

// leave adds to the rest what the interval has of another.
func (c *counting) leave(of Interval) {
	part := Interval{From: max(of.From, c.From), To: of.To, Bounded: of.Bounded}
	if c.Bounded && (!of.Bounded || of.To > c.To) {
		part.To, part.Bounded = c.To, true
	}
	if n := len(c.rest); n > 0 && c.rest[n-1].To == part.From {
		c.rest[n-1].To, c.rest[n-1].Bounded = part.To, part.Bounded
		return
	}
	c.rest = append(c.rest, part)
}

// Next returns the first key that can be one that existed at revision rev, from from on: those before it did not. ok is
// false if there is none.
func (x *Index) Next(from string, rev int64) (key string, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := x.groupOf(from); i < len(x.groups); i++ {
		g := x.groups[i]
		if n, ok := g.at(rev); ok && n == 0 {
			continue
		}
		for k := g.blockOf(max(from, g.blocks[0].from)); k < len(g.blocks); k++ {
			if n, ok := g.blocks[k].at(rev); !ok || n > 0 {
				return max(from, g.blocks[k].from), true
			}
		}
	}
	return "", false
}

// Back returns a key from which on up to the end of an interval at least n keys existed at revision rev, or where the
// interval begins if that is not known of a later one.
func (x *Index) Back(in Interval, rev, n int64) (from string) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	last := len(x.groups) - 1
	if in.Bounded {
		last = x.groupOf(in.To)
	}
	for i := last; i >= 0; i-- {
		g := x.groups[i]
		from = g.blocks[0].from
		if c, ok := g.at(rev); i < last && ok && c < n && from > in.From {
			n -= c
			continue
		}
		blocks := g.blocks
		if i == last && in.Bounded { // of the last block the interval may have nothing
			blocks = blocks[:g.blockOf(in.To)]
		}
		for k := len(blocks) - 1; k >= 0; k-- {
			if from = blocks[k].from; from <= in.From {
				return in.From
			}
			c, _ := blocks[k].at(rev)
			if n -= c; n <= 0 {
				return from
			}
		}
	}
	return in.From
}
