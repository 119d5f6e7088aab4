package archive

import (
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Candidates returns the links behind which a node may go on that has the history here, as far as names tell: one for
// each place at which links end, the furthest first.
func Candidates(links []Link, here timeline.Origin) (may []Link) {
	for _, l := range furthest(links) {
		if mayHold(here, l.To) && (len(may) == 0 || may[len(may)-1].To != l.To) {
			may = append(may, l)
		}
	}
	return may
}

// mayHold reports whether a place can be one of a history, or of what is to come of it.
func mayHold(here timeline.Origin, p Place) bool {
	i := slices.IndexFunc(here.Reigns, func(r timeline.Reign) bool { return r.Epoch == p.Epoch })
	switch {
	case i < 0:
		return p.Epoch == 0 && p == Place{}
	case p.Position+1 < here.Reigns[i].First:
		return false
	case i+1 < len(here.Reigns):
		return p.Position < here.Reigns[i+1].First
	default:
		return true
	}
}

// leadTo adds to places those behind a position from which links lead to a place.
func leadTo(links []Link, end Place, behind timeline.Position, places map[Place]bool) {
	from := map[Place][]Place{}
	for _, l := range links {
		from[l.To] = append(from[l.To], l.From)
	}
	for next := []Place{end}; len(next) > 0; {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		if places[at] || at.Position <= behind {
			continue
		}
		places[at] = true
		next = append(next, from[at]...)
	}
}

// Beginnings returns the places of a history from which it can be read on without anything that was archived, the
// earliest first: where its reigns begin, and where it is.
func Beginnings(here timeline.Origin) []timeline.Origin {
	list, folder := []timeline.Origin{{}}, timeline.NewFolder()
	for i, r := range here.Reigns {
		at := timeline.Cursor{Epoch: r.Epoch, Position: r.First - 1, Chain: folder.Reign(r.Previous, r)}
		list = append(list, timeline.Origin{Cursor: at, Reigns: here.Reigns[: i+1 : i+1]})
	}
	return append(list, here)
}
