package keyset

// Part is an interval, and how young its keys are.
type Part struct {
	Interval
	// Made is a revision. None of the keys, as they are at the revision that was asked for, began to exist after it.
	Made int64
	// Block says that the part has no parts of its own, of which more is known.
	Block bool
}

// Made returns the parts of in in which keys may exist at revision rev, in order: groups of blocks, or if in lies in
// one of those, its blocks. Where nothing is known, keys may have been made at rev.
func (x *Index) Made(in Interval, rev int64) (parts []Part) {
	if in.Bounded && in.To <= in.From {
		return nil
	}
	m := making{in: in, rev: rev}
	x.mu.RLock()
	defer x.mu.RUnlock()
	first := x.groupOf(in.From)
	if next := first + 1; next < len(x.groups) && !m.behind(x.groups[next].blocks[0].from) {
		for i := first; i < len(x.groups) && !m.behind(x.groups[i].blocks[0].from); i++ {
			m.add(x.groups[i].blocks[0].from, &x.groups[i].series, x.groups[i].bound, false)
		}
		return m.parts
	}
	g := x.groups[first]
	for k := g.blockOf(in.From); k < len(g.blocks) && !m.behind(g.blocks[k].from); k++ {
		m.add(g.blocks[k].from, &g.blocks[k].series, g.blocks[k].bound, true)
	}
	return m.parts
}

// making is what Made is about to return.
type making struct {
	in    Interval
	rev   int64
	parts []Part
	open  bool // it is not said yet where the last part ends
}

// behind reports whether key and all after it are none of the interval.
func (m *making) behind(key string) bool { return m.in.Bounded && key >= m.in.To }

// add adds the part that begins at from, if something may exist there: what comes before it ends there.
func (m *making) add(from string, s *series, b bound, block bool) {
	if m.open {
		last := &m.parts[len(m.parts)-1]
		last.To, last.Bounded, m.open = from, true, false
	}
	if n, ok := s.at(m.rev); ok && n == 0 {
		return
	}
	made := m.rev
	if m.rev >= b.valid {
		made = min(m.rev, b.made)
	}
	of := Interval{From: max(m.in.From, from), To: m.in.To, Bounded: m.in.Bounded}
	m.parts, m.open = append(m.parts, Part{Interval: of, Made: made, Block: block}), true
}
