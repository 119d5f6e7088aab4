package timeline

// Origin is a place in a history together with the reigns that lead to it.
type Origin struct {
	Cursor Cursor  `json:"cursor"`
	Reigns []Reign `json:"reigns"`
	// Commands is that of the State whose place it is; what is not made of one may leave it out.
	Commands Level `json:"commands,omitempty"`
}

// ChainAt returns the chain behind the position p of the reign r, where the reigns and the cursor tell it: where that
// reign begins, and where it ends. ok is false at every other place.
func (o Origin) ChainAt(r Reign, p Position) (c Chain, ok bool) {
	for i := range o.Reigns {
		switch {
		case o.Reigns[i] != r:
		case i+1 < len(o.Reigns) && o.Reigns[i+1].First == p+1:
			return o.Reigns[i+1].Previous, true
		case i+1 == len(o.Reigns) && o.Cursor.Position == p:
			return o.Cursor.Chain, true
		case r.First == p+1:
			return NewFolder().Reign(r.Previous, r), true
		}
	}
	return Chain{}, false
}

// Shared returns what both histories have as far as their reigns tell: the last reign of both, the position behind
// which it began, up to which their chains are equal, and the last position of it that both have. Without a common
// reign all is zero.
func Shared(a, b Origin) (r Reign, began, last Position) {
	_, last = Compare(a.Reigns, b.Reigns, a.Cursor.Position, b.Cursor.Position)
	for i := range min(len(a.Reigns), len(b.Reigns)) {
		if a.Reigns[i] != b.Reigns[i] {
			break
		}
		r, began = a.Reigns[i], a.Reigns[i].First-1
	}
	return r, began, last
}

// Agreeing tells whether the chains of both histories agree at the last position of their last common reign that both
// have, as far as their reigns and cursors tell it.
func Agreeing(a, b Origin) Agreement {
	r, _, last := Shared(a, b)
	here, ok := a.ChainAt(r, last)
	there, known := b.ChainAt(r, last)
	switch {
	case !ok || !known:
		return Unknown
	case here == there:
		return Agree
	default:
		return Differ
	}
}

// Agreement says whether two histories have one chain at a position.
type Agreement int

// Agreements.
const (
	Unknown Agreement = iota // a log does not reach back so far
	Agree
	Differ
)

// Part returns the last position that two histories are known to share, of which the chains are equal at from and
// differ at to, behind it. It asks about each position at most once, and about few. What it returns is never behind the
// place where they part; it is before it where the chains of some positions are not known, in the end from itself.
func Part(from, to Position, at func(Position) Agreement) Position {
	shared := from
	for low := from; to-low > 1; {
		middle := low + (to-low)/2
		switch agreement := at(middle); {
		case agreement == Agree:
			low, shared = middle, middle
		case agreement == Unknown && shared == from:
			low = middle // what is known begins behind it
		default:
			to = middle
		}
	}
	return shared
}
