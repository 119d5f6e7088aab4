package archive

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Prefix is what the names of segments begin with.
const Prefix = "log/"

const suffix = ".seg"

// Place is a place in a history, as far as names tell it.
type Place struct {
	Position timeline.Position
	Epoch    timeline.Epoch
	Chain    [8]byte // the first bytes of the chain
}

// PlaceOf returns the place of a cursor.
func PlaceOf(c timeline.Cursor) Place {
	return Place{Position: c.Position, Epoch: c.Epoch, Chain: [8]byte(c.Chain[:8])}
}

// compare orders places of one history.
func (p Place) compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Position, o.Position), cmp.Compare(p.Epoch, o.Epoch))
}

// Link is what the name of a segment says: it leads from one place to another.
type Link struct {
	From, To Place
	Digest   [8]byte // the first bytes of the SHA-256 of the segment
}

func linkOf(h *Header, sum [sha256.Size]byte) Link {
	return Link{From: PlaceOf(h.From), To: PlaceOf(h.To.Cursor), Digest: [8]byte(sum[:8])}
}

// Name returns the name of the segment. Names sort by where segments begin.
func (l Link) Name() string {
	return fmt.Sprintf("%s%020d-%d-%x_%020d-%d-%x_%x%s", Prefix, l.From.Position, l.From.Epoch, l.From.Chain[:],
		l.To.Position, l.To.Epoch, l.To.Chain[:], l.Digest[:], suffix)
}

// ParseName returns the link that a name is; false if it is not the name of a segment.
func ParseName(name string) (l Link, ok bool) {
	body, ok := strings.CutPrefix(name, Prefix)
	if !ok {
		return l, false
	}
	if body, ok = strings.CutSuffix(body, suffix); !ok {
		return l, false
	}
	parts := strings.Split(body, "_")
	if len(parts) != 3 || !parsePlace(parts[0], &l.From) || !parsePlace(parts[1], &l.To) ||
		!parseBytes(parts[2], &l.Digest) {
		return l, false
	}
	return l, l.Name() == name && l.From.compare(l.To) < 0
}

func parsePlace(text string, p *Place) bool {
	parts := strings.Split(text, "-")
	if len(parts) != 3 || !parseBytes(parts[2], &p.Chain) {
		return false
	}
	n, err := fmt.Sscanf(parts[0]+" "+parts[1], "%d %d", &p.Position, &p.Epoch)
	return n == 2 && err == nil
}

func parseBytes(text string, dst *[8]byte) bool {
	p, err := hex.DecodeString(text)
	return err == nil && len(p) == copy(dst[:], p) && len(p) == len(dst)
}

// furthest orders links by where they end, the furthest first.
func furthest(links []Link) []Link {
	sorted := slices.Clone(links)
	slices.SortFunc(sorted, func(a, b Link) int {
		return cmp.Or(b.To.compare(a.To), a.From.compare(b.From), slices.Compare(a.Digest[:], b.Digest[:]))
	})
	return sorted
}

// Ends returns one link for each place at which links end and none goes on, the furthest first.
func Ends(links []Link) (ends []Link) {
	goesOn, seen := map[Place]bool{}, map[Place]bool{}
	for _, l := range links {
		goesOn[l.From] = true
	}
	for _, l := range furthest(links) {
		if !goesOn[l.To] && !seen[l.To] {
			seen[l.To] = true
			ends = append(ends, l)
		}
	}
	return ends
}

// Roots returns one link for each place at which links begin and to which none leads, the earliest first.
func Roots(links []Link) (roots []Link) {
	reached, seen := map[Place]bool{}, map[Place]bool{}
	for _, l := range links {
		reached[l.To] = true
	}
	for _, l := range slices.Backward(furthest(links)) {
		if !reached[l.From] && !seen[l.From] {
			seen[l.From] = true
			roots = append(roots, l)
		}
	}
	slices.SortStableFunc(roots, func(a, b Link) int { return a.From.compare(b.From) })
	return roots
}

// Path returns links that lead from base, or from before it, to the place end, in order. If there are none it returns
// how far back the links reach that lead there.
func Path(links []Link, end Place, base Place) (path []Link, reaches Place, ok bool) {
	to := map[Place][]Link{}
	for _, l := range links {
		to[l.To] = append(to[l.To], l)
	}
	after := map[Place]Link{} // the link by which a place leads towards the end
	seen, next := map[Place]bool{end: true}, []Place{end}
	reaches = end
	for len(next) > 0 && !ok {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		if at.compare(reaches) < 0 {
			reaches = at
		}
		if at.compare(base) <= 0 {
			reaches, ok = at, true
			break
		}
		for _, l := range to[at] {
			if !seen[l.From] {
				seen[l.From], after[l.From] = true, l
				next = append(next, l.From)
			}
		}
	}
	if !ok {
		return nil, reaches, false
	}
	for at := reaches; at != end; at = after[at].To {
		path = append(path, after[at])
	}
	return path, reaches, true
}
