package timeline

import "bytes"

// Relation says how one history stands to another.
type Relation int

// Relations of a to b.
const (
	Prefix  Relation = iota // b continues a, or they are equal
	Extends                 // a continues b
	Forked                  // each has something the other has not
)

func (r Relation) String() string { return [...]string{"prefix", "extends", "forked"}[r] }

// Compare tells how history a, of which aLast is the last position, stands to b, and the last position they share. It
// trusts that an epoch has one primary and that a primary's log is linear, so that equal reigns hold equal commands.
// Where a disk of a primary went back that is not so: before anything is given up for its word, [Part] is asked.
func Compare(a, b []Reign, aLast, bLast Position) (Relation, Position) {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	aEnd, bEnd := endOf(a, n, aLast), endOf(b, n, bLast)
	switch {
	case n == len(a) && aEnd <= bEnd:
		return Prefix, aEnd
	case n == len(b) && bEnd <= aEnd:
		return Extends, bEnd
	default:
		return Forked, min(aEnd, bEnd)
	}
}

// endOf returns the last position that the first n reigns of h wrote. Without a common reign nothing is shared.
func endOf(h []Reign, n int, last Position) Position {
	switch {
	case n < len(h):
		return h[n].First - 1
	case n == 0:
		return 0
	default:
		return last
	}
}

// Within reports whether an entry of a log can be part of the history that these reigns and this last position
// describe: its epoch is one of the reigns, it lies within that reign, and not beyond what is applied. A log also holds
// what was refused.
func Within(reigns []Reign, last Position, h Header) bool {
	for i := len(reigns) - 1; i >= 0; i-- {
		r := &reigns[i]
		if r.Epoch != h.Epoch {
			continue
		}
		if h.Kind == KindReign {
			return r.First == h.First
		}
		return h.First >= r.First && h.Last() <= endOf(reigns, i+1, last)
	}
	return false
}

// Until returns the reigns of h with which it comes to the position p, and goes on there.
func Until(h []Reign, p Position) []Reign {
	n := len(h)
	for n > 0 && h[n-1].First > p+1 {
		n--
	}
	return h[:n:n]
}

// Supersedes reports whether the claim a outranks b. Of two claims that differ exactly one outranks the other, wherever
// they are compared: two of one epoch are possible where an operator forced one of them, or where a region that lost
// its disks began again. The higher epoch wins; of one epoch the region with the smaller name; of one region the reign
// that was not forced, then the one with more history before it; and in the end what it is made of decides, its nonce
// above all. The zero Reign claims nothing.
func Supersedes(a, b Reign) bool {
	switch {
	case a == b:
		return false
	case a.Epoch != b.Epoch || a.Primary != b.Primary:
		return outranks(a, b)
	case a.Lossy != b.Lossy:
		return b.Lossy
	case a.First != b.First:
		return a.First > b.First
	}
	if c := bytes.Compare(a.appendIdentity(nil), b.appendIdentity(nil)); c != 0 {
		return c > 0
	}
	return bytes.Compare(a.Previous[:], b.Previous[:]) > 0
}

// outranks orders claims by epoch and region alone. It is how entries of a region's log have always been judged, and
// nodes of different versions must judge them alike: what it cannot tell apart gives way by diverging, not by a yield.
func outranks(a, b Reign) bool {
	if a.Epoch != b.Epoch {
		return a.Epoch > b.Epoch
	}
	return a.Primary != b.Primary && (b.Primary == "" || (a.Primary != "" && a.Primary < b.Primary))
}

// Latest returns the last reign of a history, the zero Reign if it is empty.
func Latest(h []Reign) Reign {
	if len(h) == 0 {
		return Reign{}
	}
	return h[len(h)-1]
}
