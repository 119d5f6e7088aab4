package verify

import (
	"bytes"
	"cmp"
	"slices"
)

// Result is what a comparison found.
type Result struct {
	Revision int64 `json:"revision"`
	// Earlier is the revision of the first of several pieces, that of the last being Revision; 0 if all is of one.
	Earlier  int64    `json:"earlier,omitempty"`
	Compact  int64    `json:"compact"`
	Nodes    []string `json:"nodes"` // that were compared to the end
	Keys     int64    `json:"keys"`  // of the first node that was compared
	Versions int64    `json:"versions"`
	Bytes    int64    `json:"bytes"`
	Parts    int64    `json:"parts"`
	// Differing is how many parts differ, First the first difference in them, narrowed down. Nil if there is none.
	Differing int64       `json:"differing"`
	First     *Difference `json:"first,omitempty"`
	// Missing says of each node that was not compared, or not to the end, why.
	Missing []Missing `json:"missing,omitempty"`
	// Beside is what was found of leases, users and alarms; nil if that was not asked.
	Beside *BesideResult `json:"beside,omitempty"`
	// Apart are comparisons of nodes that could not be compared with those of this one, but with each other.
	Apart []*Result `json:"apart,omitempty"`
	// More says that the comparison ended at its bound, before the end of the range.
	More bool `json:"-"`
	// Reached is the key up to before which all was compared, where that ended with an error.
	Reached []byte `json:"-"`
}

// Add adds what was found in the piece that follows. Who was missing in one was not compared, or not all of him.
func (r *Result) Add(piece *Result) {
	if r.Parts == 0 {
		*r = *piece
		return
	}
	r.Earlier = cmp.Or(r.Earlier, r.Revision)
	r.Revision, r.Compact, r.Reached = piece.Revision, piece.Compact, piece.Reached
	r.Keys += piece.Keys
	r.Versions += piece.Versions
	r.Bytes += piece.Bytes
	r.Parts += piece.Parts
	r.Differing += piece.Differing
	r.First = cmp.Or(r.First, piece.First)
	before := r.Nodes
	r.Nodes = slices.DeleteFunc(piece.Nodes, func(n string) bool { return !slices.Contains(before, n) })
	for _, n := range before {
		if !slices.Contains(piece.Nodes, n) && !piece.misses(n) {
			piece.Missing = append(piece.Missing, Missing{n, "it was not there any more when history was compacted"})
		}
	}
	for _, m := range piece.Missing {
		if !r.misses(m.Node) {
			r.Missing = append(r.Missing, m)
		}
	}
}

func (r *Result) misses(node string) bool {
	return slices.ContainsFunc(r.Missing, func(m Missing) bool { return m.Node == node })
}

// Difference is a range in which not all hold the same.
type Difference struct {
	Range
	Groups []Group `json:"groups"` // the largest first
}

// Group is who holds the same.
type Group struct {
	Nodes    []string `json:"nodes"`
	Keys     int64    `json:"keys"`
	Versions int64    `json:"versions"`
	Sum      []byte   `json:"sum"`
}

// Missing is a node that was not compared.
type Missing struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

func (d *Difference) add(node string, p *Part) {
	for i := range d.Groups {
		if bytes.Equal(d.Groups[i].Sum, p.Sum) {
			d.Groups[i].Nodes = append(d.Groups[i].Nodes, node)
			return
		}
	}
	d.Groups = append(d.Groups, Group{Nodes: []string{node}, Keys: p.Keys, Versions: p.Versions, Sum: p.Sum})
}

// largestFirst orders groups, those of one size as they came.
func largestFirst(groups []Group) {
	slices.SortStableFunc(groups, func(a, b Group) int { return len(b.Nodes) - len(a.Nodes) })
}
