package lint

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	aRoom = regexp.MustCompile("(?m)^\\| \\d+ \\| `([^`]+)` \\| [^|]+ \\| ([^|]+) \\|$")
	aName = regexp.MustCompile("`([^`]+)`")
)

// The page on architecture has every room, each with the rooms that it may import.
func TestPagesHaveTheTableOfRooms(t *testing.T) {
	page, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string][]string{}
	for _, row := range aRoom.FindAllStringSubmatch(string(page), -1) {
		shown[row[1]] = []string{}
		for _, name := range aName.FindAllStringSubmatch(row[2], -1) {
			shown[row[1]] = append(shown[row[1]], name[1])
		}
	}
	for room, imports := range below {
		var want []string
		for _, other := range imports {
			want = append(want, shortName(other))
		}
		slices.Sort(want)
		got, there := shown[shortName(room)]
		slices.Sort(got)
		if !there || !slices.Equal(got, want) {
			t.Errorf("ARCHITECTURE.md says that %s imports %q, the table %q", shortName(room), got, want)
		}
	}
	if len(shown) != len(below) {
		t.Errorf("ARCHITECTURE.md has %d rooms, the table %d", len(shown), len(below))
	}
}

// shortName returns the name of a room as that page writes it.
func shortName(room string) string {
	return strings.TrimPrefix(strings.TrimPrefix(room, "replication/"), "internal/")
}
