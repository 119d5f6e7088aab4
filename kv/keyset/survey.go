package keyset

import "slices"

// Survey is a look at the keys of a block on disk, which cuts it into smaller ones. It is used by one goroutine.
type Survey struct {
	Interval       // whose keys are to be added
	UpTo     int64 // the revision as of which they are looked at: later changes come by Apply
	// Since is the revision at which what is told of them begins: for more there is no memory. Who looks raises it to
	// what can be read, before the first key.
	Since     int64
	MostFlips int // of one key that are taken

	block   *block
	limits  limits
	taken   int // keys
	flips   int
	parts   []part
	last    []byte // key
	rest    string // where it stopped
	stopped bool
}

// part is what becomes a block.
type part struct {
	from    string
	there   int64 // keys at the revision at which the survey begins
	newest  int64 // change of them
	made    int64 // when one last began to exist
	keys    int
	changes []change
}

// Begin begins to look at a block that is unknown or became too wide; ok is false if there is none. Whatever is read
// from now on has all changes up to UpTo. The survey ends with Finish or Abandon, before the next one begins.
func (x *Index) Begin() (s *Survey, ok bool) {
	x.turn.Lock()
	defer x.turn.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.wide) == 0 {
		return nil, false
	}
	b := x.wide[0]
	x.wide = x.wide[1:]
	b.looked = true
	s = &Survey{UpTo: x.upTo, Since: x.since, MostFlips: x.limits.surveyFlips, block: b, limits: x.limits}
	s.From = b.from
	s.To, s.Bounded = x.end(b)
	return s, true
}

// end returns where the block ends.
func (x *Index) end(b *block) (to string, bounded bool) {
	i := x.groupOf(b.from)
	blocks := x.groups[i].blocks
	if k := x.groups[i].blockOf(b.from); k+1 < len(blocks) {
		return blocks[k+1].from, true
	}
	if i+1 < len(x.groups) {
		return x.groups[i+1].blocks[0].from, true
	}
	return "", false
}

// Add adds the next key of the interval, of which something is on disk at or below UpTo: the revision of its last
// change up to there, made, that at which it last began to exist (0 if it did not exist at the revision since, nor
// later), whether it existed at since, and the revisions after that at which this changed, from new to old. since is
// Since, or a later one if the key has more than MostFlips after that. It keeps nothing of them. If it returns false
// the key is not taken, and the survey ends before it.
func (s *Survey) Add(key []byte, newest, made, since int64, there bool, flips []int64) (more bool) {
	// What is known of a key since later is a survey of its own, so that no other is known the less for it.
	if s.taken > 0 && since != s.Since || s.taken == s.limits.surveyKeys ||
		s.taken > 0 && s.flips+len(flips) > s.MostFlips {
		s.rest, s.stopped = string(key), true
		return false
	}
	s.Since = since
	s.flips += len(flips)
	n := len(s.parts)
	if n == 0 || s.parts[n-1].keys == s.limits.blockKeys {
		p := part{from: s.From}
		if n > 0 {
			p.from = string(key[:shared(s.last, key)+1])
		}
		s.parts = append(s.parts, p)
		n++
	}
	p := &s.parts[n-1]
	p.keys++
	p.newest, p.made = max(p.newest, newest), max(p.made, made)
	s.taken++
	s.last = append(s.last[:0], key...)
	if there {
		p.there++
	}
	for _, rev := range slices.Backward(flips) {
		there = !there
		p.changes = append(p.changes, newChange(rev, there))
	}
	return true
}

// Taken returns how many keys were taken.
func (s *Survey) Taken() (keys int) { return s.taken }

// shared returns how many bytes b has in common with a, which is below it, at the beginning.
func shared(a, b []byte) int {
	n := 0
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}

// Finish puts what was found in the place of the block. Since is at most UpTo.
func (x *Index) Finish(s *Survey) {
	if len(s.parts) == 0 && !s.stopped {
		s.parts = []part{{}}
	}
	s.parts[0].from = s.From
	fresh := make([]*block, len(s.parts))
	for i := range s.parts {
		p := &s.parts[i]
		fresh[i] = &block{
			from: p.from, keys: p.keys, series: newSeries(s.Since, p.there, p.changes),
			bound: bound{newest: p.newest, made: p.made, valid: s.Since},
		}
	}
	x.turn.Lock()
	defer x.turn.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	b := s.block
	missed := b.missed
	b.missed, b.looked, b.queued = nil, false, false
	g := &group{blocks: fresh}
	for _, c := range missed {
		if c.Revision > s.UpTo && (!s.stopped || c.Key < s.rest) {
			to := fresh[g.blockOf(c.Key)]
			to.newest = max(to.newest, c.Revision)
			if !c.Flip {
				continue
			}
			if c.Exists {
				to.made = max(to.made, c.Revision)
			}
			to.add(newChange(c.Revision, c.Exists))
			x.grown(to, newChange(c.Revision, c.Exists))
		}
	}
	x.replace(b, fresh, s)
}

// replace puts fresh blocks in the place of b, or of its beginning, if the survey stopped.
func (x *Index) replace(b *block, fresh []*block, s *Survey) {
	i := x.groupOf(b.from)
	g := x.groups[i]
	k := g.blockOf(b.from)
	for _, f := range fresh {
		x.bytes += f.size()
	}
	x.bytes -= b.size()
	if !b.known() {
		x.unknown--
	}
	whole := g.since == unknown // of which b is all
	if s.stopped {
		*b = block{from: s.rest, series: series{since: unknown}, bound: unbound, queued: true}
		x.bytes += b.size()
		x.wide = append(x.wide, b)
		x.unknown++
	}
	if !whole {
		if s.stopped {
			fresh = append(fresh, b)
		}
		g.blocks = slices.Replace(g.blocks, k, k+1, fresh...)
		g.rebind()
		x.split(i)
		return
	}
	var groups []*group
	for part := range slices.Chunk(fresh, x.limits.groupBlocks/2) {
		groups = append(groups, x.newGroup(part))
	}
	if s.stopped {
		groups = append(groups, g)
	}
	x.groups = slices.Replace(x.groups, i, i+1, groups...)
}

// newGroup makes a group of known blocks.
func (x *Index) newGroup(blocks []*block) *group {
	g := &group{series: merged(blocks), blocks: slices.Clone(blocks)}
	g.rebind()
	x.bytes += g.series.bytes()
	return g
}

// rebind makes the bound of a group that of its blocks.
func (g *group) rebind() {
	g.bound = bound{}
	for _, b := range g.blocks {
		g.bound.join(b.bound)
	}
}

// split cuts the i-th group in two if it is too large and all of it is known.
func (x *Index) split(i int) {
	g := x.groups[i]
	if len(g.blocks) <= x.limits.groupBlocks || !g.allKnown() {
		return
	}
	x.bytes -= g.series.bytes()
	var groups []*group
	for part := range slices.Chunk(g.blocks, x.limits.groupBlocks/2) {
		groups = append(groups, x.newGroup(part))
	}
	x.groups = slices.Replace(x.groups, i, i+1, groups...)
}

// Abandon ends a survey without anything found. Its block is looked at again.
func (x *Index) Abandon(s *Survey) {
	x.turn.Lock()
	defer x.turn.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	s.block.looked, s.block.missed = false, nil
	x.wide = append(x.wide, s.block)
}
