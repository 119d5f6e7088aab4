package archive

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// between returns a link between places that are written as a position and a branch: 12a.
func between(t *testing.T, from, to string) Link {
	t.Helper()
	place := func(text string) (p Place) {
		var branch string
		if _, err := fmt.Sscanf(text, "%d%s", &p.Position, &branch); err != nil {
			t.Fatal(err)
		}
		p.Epoch, p.Chain = timeline.Epoch(branch[0]-'a'+1), [8]byte{branch[0], byte(p.Position)}
		return p
	}
	return Link{From: place(from), To: place(to)}
}

// TestPath: along one branch, by whichever segments there are, never over a gap, and never out of another branch.
func TestPath(t *testing.T) {
	var links []Link
	for _, l := range [][2]string{
		{"5a", "10a"}, {"10a", "20a"}, {"20a", "30a"}, // given up behind 20
		{"20a", "25b"}, {"25b", "40b"}, {"10a", "25b"}, {"25b", "33b"}, {"33b", "40b"}, // two archived it at once
		{"50b", "60b"}, // behind a gap
	} {
		links = append(links, between(t, l[0], l[1]))
	}
	text := func(p Place) string { return fmt.Sprintf("%d%c", p.Position, p.Chain[0]) }
	of := func(text string) Place { return between(t, text, text).To }
	for _, c := range []struct{ end, base, lacks string }{
		{"30a", "10a", ""},
		{"30a", "12a", ""},
		{"40b", "22b", ""},
		{"40b", "12a", ""},
		{"40b", "5a", ""},
		{"40b", "40b", ""},
		{"40b", "44b", ""},
		{"40b", "4a", "5a"},
		{"60b", "45b", "50b"},
		{"60b", "55b", ""},
	} {
		for range 3 {
			links = append(links[1:], links[0]) // in whatever order they are
			path, reaches, ok := Path(links, of(c.end), of(c.base))
			if ok != (c.lacks == "") || !ok && text(reaches) != c.lacks || ok && reaches.compare(of(c.base)) > 0 {
				t.Errorf("%+v: %v, back to %s, %v", c, path, text(reaches), ok)
			}
			at := reaches
			for _, l := range path {
				if l.From != at {
					t.Errorf("%+v: %s does not follow %s", c, text(l.From), text(at))
				}
				at = l.To
			}
			if ok && at != of(c.end) {
				t.Errorf("%+v: ends at %s", c, text(at))
			}
		}
	}
	var names []string
	for _, l := range Ends(links) {
		names = append(names, text(l.To))
	}
	for _, l := range Roots(links) {
		names = append(names, text(l.From))
	}
	if want := []string{"60b", "40b", "30a", "5a", "50b"}; !slices.Equal(names, want) {
		t.Errorf("ends and roots %v, want %v", names, want)
	}
}
